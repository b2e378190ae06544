"""Refuses what Anthropic has and we don't, by its name, before the body is read into Structs.

A Struct could only say that a value is not allowed; a client is better told that its web search or its document is
what can't be had here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from headrace.gateway.dialects.anthropic.content import UNSUPPORTED_BLOCKS
from headrace.gateway.dialects.anthropic.wire import UNSUPPORTED_FIELDS
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.errors import ErrorCode

_SHOWN_LENGTH = 64


def refuse_unsupported(fields: Mapping[str, Any]) -> None:
    """Refuse a field, a tool or a content block that asks for what we lack.

    Raises:
        RequestRefusedError: `unsupported_parameter`, or a block without a type.
    """
    for name, harmless in UNSUPPORTED_FIELDS.items():
        value = fields.get(name)
        # 0 == False in Python, and neither is the other here.
        if value is not None and not any(type(value) is type(item) and value == item for item in harmless):
            raise _unsupported(name, f"'{name}' is not supported")
    for path, tool in _objects(fields.get("tools"), "tools"):
        kind = tool.get("type")
        if isinstance(kind, str) and kind != "custom":
            raise _unsupported(f"{path}.type", f"{path}: tools of type '{kind[:_SHOWN_LENGTH]}' are not supported")
    for path, message in _objects(fields.get("messages"), "messages"):
        _check_blocks(message.get("content"), f"{path}.content")
    _check_blocks(fields.get("system"), "system")


def _check_blocks(content: Any, path: str) -> None:
    for place, block in _objects(content, path):
        kind = block.get("type")
        if kind is None:
            param = f"{place}.type"
            raise RequestRefusedError(f"'{param}' is missing", reason="missing_required_parameter", param=param)
        if isinstance(kind, str) and kind in UNSUPPORTED_BLOCKS:
            raise _unsupported(f"{place}.type", f"{place}: content blocks of type '{kind}' are not supported")
        if kind == "tool_result":
            _check_blocks(block.get("content"), f"{place}.content")


def _objects(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects in a list, each with its path; what is none is left to the decoder's own check."""
    if isinstance(value, list):
        for i, item in enumerate(cast("list[Any]", value)):
            if isinstance(item, dict):
                yield f"{path}[{i}]", cast("dict[str, Any]", item)


def _unsupported(param: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(message, reason="unsupported_value", param=param, code=ErrorCode.UNSUPPORTED_PARAMETER)

"""What is refused by name before a body is decoded, since a decoder's words for it would help nobody."""

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from msgspec import Struct

from headrace.gateway.dialects.openai.responses.items import ContentPart, InputItem
from headrace.gateway.dialects.openai.responses.wire import INCLUDES, UNSUPPORTED_FIELDS, FunctionTool
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.errors import ErrorCode, HeadraceError

_SHOWN_LENGTH = 32


def _tags_of(kinds: Sequence[type[Struct]]) -> tuple[str, ...]:
    return tuple(str(kind.__struct_config__.tag) for kind in kinds)


_MESSAGE = "message"
_REFERENCE = "item_reference"
_ITEM_TYPES = _tags_of(get_args(InputItem))
_PART_TYPES = _tags_of(get_args(ContentPart))
_TOOL_TYPES = _tags_of([FunctionTool])
_CHOICE_TYPES = ("function", "allowed_tools")


def refuse_unsupported(fields: Mapping[str, Any]) -> None:
    """Refuse what asks for something that we lack.

    Raises:
        HeadraceError: `unsupported_parameter`, naming the field.
    """
    for name, harmless in UNSUPPORTED_FIELDS.items():
        if (value := fields.get(name)) is not None and value not in harmless:
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, f"'{name}' is not supported", param=name)
    _refuse_includes(fields.get("include"))
    for i, tool in enumerate(_objects_in(fields.get("tools"))):
        _check_type(tool, _TOOL_TYPES, f"tools[{i}]")
    choice = fields.get("tool_choice")
    if isinstance(choice, dict):
        _check_type(cast("dict[str, Any]", choice), _CHOICE_TYPES, "tool_choice")
        for i, tool in enumerate(_objects_in(cast("dict[str, Any]", choice).get("tools"))):
            _check_type(tool, _TOOL_TYPES, f"tool_choice.tools[{i}]")
    if fields.get("truncation") == "auto":
        raise unsupported_value("truncation", "auto", ("disabled",))


def _refuse_includes(include: Any) -> None:
    names = cast("list[Any]", include) if isinstance(include, list) else []
    for i, name in enumerate(names):
        if isinstance(name, str) and not INCLUDES.get(name):
            raise unsupported_value(f"include[{i}]", name, [item for item, taken in INCLUDES.items() if taken])


def normalise_input(value: Any) -> Any:
    """Return the input with the type of each item said, which a client may leave out of a message or a reference.

    Raises:
        RequestRefusedError: an item, or a part of one, is of a type that we don't take.
    """
    if not isinstance(value, list):
        return value
    items = [_with_type(item) for item in cast("list[Any]", value)]
    for i, item in enumerate(_objects_in(items)):
        _check_type(item, _ITEM_TYPES, f"input[{i}]")
        for name in ("content", "output"):
            # What reasoning holds is its own affair.
            if item["type"] != "reasoning":
                for j, part in enumerate(_objects_in(item.get(name))):
                    _check_type(part, _PART_TYPES, f"input[{i}].{name}[{j}]")
    return items


def _with_type(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    fields = cast("dict[str, Any]", item)
    if fields.get("type") is not None:
        return fields
    return {**fields, "type": _MESSAGE if "role" in fields or "id" not in fields else _REFERENCE}


def _objects_in(value: Any) -> list[dict[str, Any]]:
    """Return the items of a list if all of them are objects; else the decoder says what is wrong."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return cast("list[dict[str, Any]]", items) if all(isinstance(item, dict) for item in items) else []


def _check_type(value: Mapping[str, Any], supported: Sequence[str], path: str) -> None:
    kind = value.get("type")
    if isinstance(kind, str) and kind not in supported:
        raise unsupported_value(f"{path}.type", kind, supported)


def unsupported_value(param: str, value: str, supported: Sequence[str]) -> RequestRefusedError:
    """Return the refusal of a value that OpenAI may know and we don't."""
    message = f"'{param}': '{value[:_SHOWN_LENGTH]}' is not supported; supported: {', '.join(supported)}"
    return RequestRefusedError(message, reason="unsupported_value", param=param, code=ErrorCode.UNSUPPORTED_PARAMETER)

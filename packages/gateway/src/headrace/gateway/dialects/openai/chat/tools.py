"""OpenAI's tools and the choice among them."""

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.gateway.dialects.openai.chat.refusing import unsupported_value, wrong_type
from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.json_schema import check_arguments_schema
from headrace.schema.tools import MAX_TOOLS, Tool, ToolChoice

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MODES: dict[str, Literal["none", "auto", "required"]] = {"none": "none", "auto": "auto", "required": "required"}
_CHOICES = ("none", "auto", "required", "function", "allowed_tools")


class FunctionBody(Struct, frozen=True, kw_only=True):
    """A function that the client can run."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(Struct, frozen=True, kw_only=True):
    """A tool; only functions are supported."""

    type: str
    function: FunctionBody | None = None
    custom: Any = None


class NamedFunction(Struct, frozen=True, kw_only=True):
    """A function by its name."""

    name: str


class AllowedTool(Struct, frozen=True, kw_only=True):
    """A tool by its name."""

    type: str
    function: NamedFunction | None = None
    custom: Any = None


class AllowedTools(Struct, frozen=True, kw_only=True):
    """Which tools may, or must, be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[tuple[AllowedTool, ...], Meta(min_length=1, max_length=MAX_TOOLS)]


class ToolChoiceBody(Struct, frozen=True, kw_only=True):
    """A choice of one function, or among some."""

    type: str
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None
    custom: Any = None


def check_name(name: str, param: str) -> None:
    """Check a name that OpenAI holds to a pattern.

    Raises:
        RequestRefusedError: it does not match.
    """
    if not _NAME.fullmatch(name):
        text = f"'{param}' must have 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'"
        raise RequestRefusedError(text, reason="invalid_value", param=param)


def to_tools(tools: tuple[ToolBody, ...]) -> tuple[Tool, ...]:
    """Return the tools.

    Raises:
        RequestRefusedError: a tool is no function, has no proper name, or no proper schema.
    """
    return tuple(_to_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools))


def _to_tool(tool: ToolBody, path: str) -> Tool:
    if tool.type != "function":
        raise unsupported_value(f"{path}.type", tool.type, ["function"])
    function = tool.function
    if function is None:
        raise wrong_type(f"{path}.function", "an object")
    check_name(function.name, f"{path}.function.name")
    if function.parameters is not None:
        check_arguments_schema(function.parameters, param=f"{path}.function.parameters")
    return Tool(
        name=function.name,
        description=function.description,
        parameters=function.parameters,
        strict=function.strict is True,
    )


def to_tool_choice(
    choice: str | ToolChoiceBody | None, *, tools: tuple[Tool, ...], parallel: bool | None
) -> ToolChoice:
    """Return which tools may or must be called.

    Args:
        choice: as the client wrote it.
        tools: what there is to choose from.
        parallel: whether an answer may have more than one call; None may.

    Raises:
        RequestRefusedError: the choice is none, or names a tool that is not there.
    """
    many = parallel is not False
    if choice is None:
        return ToolChoice(parallel=many)
    if isinstance(choice, str):
        if choice not in _MODES:
            raise unsupported_value("tool_choice", choice, _CHOICES)
        return ToolChoice(mode=_MODES[choice], parallel=many)
    known = {tool.name for tool in tools}
    if choice.type == "function":
        # A function that is forced by its name is called once.
        name = _name_of(choice.function, known, "tool_choice.function")
        return ToolChoice(mode="required", names=(name,), parallel=False)
    if choice.type == "allowed_tools":
        return _to_allowed(choice.allowed_tools, known, parallel=many)
    raise unsupported_value("tool_choice.type", choice.type, _CHOICES[-2:])


def _to_allowed(allowed: AllowedTools | None, known: set[str], *, parallel: bool) -> ToolChoice:
    path = "tool_choice.allowed_tools"
    if allowed is None:
        raise wrong_type(path, "an object")
    names: list[str] = []
    for i, tool in enumerate(allowed.tools):
        if tool.type != "function":
            raise unsupported_value(f"{path}.tools[{i}].type", tool.type, ["function"])
        names.append(_name_of(tool.function, known, f"{path}.tools[{i}].function"))
    return ToolChoice(mode=allowed.mode, names=tuple(dict.fromkeys(names)), parallel=parallel)


def _name_of(function: NamedFunction | None, known: set[str], path: str) -> str:
    if function is None:
        raise wrong_type(path, "an object")
    if function.name not in known:
        text = f"'{path}.name': there is no such function in 'tools'"
        raise RequestRefusedError(text, reason="invalid_value", param="tool_choice")
    return function.name


def forces_a_function(choice: str | ToolChoiceBody | None) -> bool:
    """Tell whether one function is forced by its name: OpenAI ends such an answer with `stop`."""
    return isinstance(choice, ToolChoiceBody) and choice.type == "function"

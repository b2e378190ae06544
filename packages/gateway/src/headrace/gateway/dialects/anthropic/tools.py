"""From Anthropic's tools and tool choice to ours."""

from collections.abc import Sequence
from typing import assert_never

from headrace.gateway.dialects.anthropic.messages import refuse_value
from headrace.gateway.dialects.anthropic.wire import (
    AnyToolChoice,
    AutoToolChoice,
    NamedToolChoice,
    NoToolChoice,
    ToolChoiceParam,
    ToolParam,
)
from headrace.gateway.json_schema import check_json_schema
from headrace.schema.tools import Tool, ToolChoice


def to_tools(tools: Sequence[ToolParam]) -> tuple[Tool, ...]:
    """Return the tools.

    Raises:
        RequestRefusedError: a schema is none of an object.
    """
    return tuple(_to_tool(tool, f"tools[{i}].input_schema") for i, tool in enumerate(tools))


def _to_tool(tool: ToolParam, path: str) -> Tool:
    if tool.input_schema.get("type") != "object":
        raise refuse_value(f"{path}.type", "the input of a tool is an object, so this must be 'object'")
    check_json_schema(tool.input_schema, param=path)
    return Tool(name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict is True)


def to_tool_choice(choice: ToolChoiceParam | None) -> ToolChoice:
    """Return which tools may or must be called."""
    match choice:
        case None:
            return ToolChoice()
        case AutoToolChoice():
            return ToolChoice(parallel=not choice.disable_parallel_tool_use)
        case AnyToolChoice():
            return ToolChoice(mode="required", parallel=not choice.disable_parallel_tool_use)
        case NamedToolChoice():
            # One call of it is what is meant, unless more are asked for: a small model would not stop by itself.
            parallel = choice.disable_parallel_tool_use is False
            return ToolChoice(mode="required", names=(choice.name,), parallel=parallel)
        case NoToolChoice():
            return ToolChoice(mode="none")
        case _:
            assert_never(choice)

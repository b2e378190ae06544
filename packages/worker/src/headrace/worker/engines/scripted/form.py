"""What a sequence is to say: the script's words, or the least that has the form where those don't have it.

A real engine constrains its sampling. Here the script's answer is played where it fits, so that a test can choose it,
and the smallest answer that fits is played in its place where it does not.
"""

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec
from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextFormat,
)
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.tools import Tool
from headrace.worker.engines.scripted.instance import UnknownSchemaError, is_instance, make_instance
from headrace.worker.engines.scripted.match import make_match
from headrace.worker.engines.scripted.script import Answer, ScriptedCall

_OBJECT: dict[str, Any] = {"type": "object"}


class PlannedCall(Struct, frozen=True):
    """A call that will be made; `arguments` is JSON."""

    name: str
    arguments: str


def plan_calls(answer: Answer, request: ChatCompletionRequest) -> tuple[PlannedCall, ...]:
    """Return the calls that each sequence makes.

    Raises:
        HeadraceError: `unsupported_parameter`: a call is required, and nothing small fits the tool's parameters.
    """
    choice = request.tool_choice
    allowed = {
        name: i for i, tool in enumerate(request.tools) if (name := tool.name) in choice.names or not choice.names
    }
    if not allowed or choice.mode == "none":
        return ()
    is_forced = choice.mode == "required"
    calls: list[PlannedCall] = []
    # What a tool has answered is not asked again, unless a call is required.
    if is_forced or request.messages[-1:] == () or request.messages[-1].role != "tool":
        scripted = [call for call in answer.tool_calls if call.name in allowed]
        calls = [_plan_call(call, request.tools[allowed[call.name]], is_forced=is_forced) for call in scripted]
    if is_forced and not calls:
        place = allowed[next(name for name in choice.names or allowed if name in allowed)]
        calls = [PlannedCall(request.tools[place].name, _make_arguments(request.tools[place], place))]
    return tuple(calls if choice.parallel else calls[:1])


def _plan_call(call: ScriptedCall, tool: Tool, *, is_forced: bool) -> PlannedCall:
    arguments = call.to_json()
    if (is_forced or tool.strict) and not _is_json(arguments, tool.parameters or _OBJECT):
        arguments = _make_arguments(tool, 0)
    return PlannedCall(call.name, arguments)


def _make_arguments(tool: Tool, place: int) -> str:
    return _make_json(tool.parameters or _OBJECT, f"tools[{place}].parameters")


def _make_json(schema: dict[str, Any], param: str) -> str:
    try:
        return msgspec.json.encode(make_instance(schema)).decode()
    except (UnknownSchemaError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        what = str(error) if isinstance(error, UnknownSchemaError) else "a malformed word"
        raise _refuse(f"the scripted engine can't make a value for this schema: it has {what}", param) from error


def _is_json(text: str, schema: dict[str, Any]) -> bool:
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return is_instance(value, schema)


def _refuse(message: str, param: str) -> HeadraceError:
    return HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param=param)


def fit_texts(texts: Sequence[str], response_format: ResponseFormat) -> tuple[str, ...]:
    """Return the texts to choose from: those of the script that have the form, or else the least that has it.

    Raises:
        HeadraceError: `unsupported_parameter`: nothing that has it can be made here.
    """
    match response_format:
        case TextFormat():
            return tuple(texts)
        case JsonObjectFormat():
            return tuple(text for text in texts if _is_json(text, _OBJECT)) or ("{}",)
        case JsonSchemaFormat(schema=schema):
            fitting = tuple(text for text in texts if _is_json(text, schema))
            return fitting or (_make_json(schema, "response_format.schema"),)
        case ChoiceFormat(choices=choices):
            return tuple(text for text in texts if text in choices) or choices[:1]
        case RegexFormat(pattern=pattern):
            if (made := make_match(pattern)) is None:
                raise _refuse("the scripted engine knows simple expressions only", "response_format.pattern")
            return (made,)
        case GrammarFormat():
            raise _refuse("the scripted engine knows no grammars", "response_format.grammar")
        case _:
            assert_never(response_format)

"""From what a request asks for to a grammar: response formats, and tool calls that must be made."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import assert_never

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
from headrace.schema.tools import Tool
from headrace.worker.engines.vllm.grammar.ebnf import Ranges, Rules, intersect, invert, write_choice, write_text
from headrace.worker.engines.vllm.grammar.ebnf import write_set as write_any_set
from headrace.worker.engines.vllm.grammar.json_schema import write_json_schema, write_object_schema
from headrace.worker.engines.vllm.grammar.json_values import JsonValues
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError
from headrace.worker.engines.vllm.grammar.regex import parse_regex, write_regex
from headrace.worker.engines.vllm.grammar.strings import write_json

MAX_CALLS = 32
MAX_GIVEN_CHARACTERS = 64 * 1024

_TEXT = invert(((0x00, 0x00), (0xD800, 0xDFFF)))


def write_format(form: ResponseFormat) -> str | None:
    """Return the grammar of a response format, or None for plain text.

    Raises:
        HeadraceError: `invalid_request`: it can't be kept to; the field is named.
    """
    rules = Rules()
    match form:
        case TextFormat():
            return None
        case JsonObjectFormat():
            return rules.write(JsonValues(rules).any_object)
        case JsonSchemaFormat():
            with refused_as("response_format.schema", "the schema"):
                return rules.write(write_json_schema(rules, form.schema))
        case RegexFormat(pattern):
            with refused_as("response_format.pattern", "the pattern"):
                return rules.write(write_regex(parse_regex(pattern), _write_text_set))
        case ChoiceFormat(choices):
            with refused_as("response_format.choices", "the choices"):
                return rules.write(rules.add(write_choice(map(write_text, choices))))
        case GrammarFormat(grammar):
            return _check_grammar(grammar)
        case _ as unreachable:
            assert_never(unreachable)


class AllowedTool(Struct, frozen=True):
    """A tool that may be called, and its place in the request."""

    index: int
    tool: Tool


def write_calls(allowed: Sequence[AllowedTool], *, only_one: bool) -> str:
    """Return the grammar of calls that must be made: the arguments of the one tool, or a list of names and arguments.

    Args:
        allowed: the tools.
        only_one: there is to be one call, not several.

    Raises:
        HeadraceError: `invalid_request`: a tool's parameters can't be kept to.
    """
    rules = Rules()
    if only_one and len(allowed) == 1:
        return rules.write(write_arguments(rules, allowed[0]))
    space = JsonValues(rules).space
    options = [
        f'"{{" {space} "\\"name\\":" " "? {write_json(entry.tool.name)} "," {space} "\\"parameters\\":" " "? '
        f'{write_arguments(rules, entry)} {space} "}}"'
        for entry in allowed
    ]
    call = rules.add(" | ".join(options))
    end = rules.add(f'{space} "]"')
    following = end
    for _ in range(0 if only_one else MAX_CALLS - 1):
        following = rules.add(f'{end} | "," {space} {call} {following}')
    return rules.write(f'"[" {space} {call} {following}')


def write_arguments(rules: Rules, entry: AllowedTool) -> str:
    """Return the expression for the arguments of a tool.

    Raises:
        HeadraceError: `invalid_request`: its parameters can't be kept to.
    """
    if entry.tool.parameters is None:
        return JsonValues(rules).any_object
    with refused_as(f"tools[{entry.index}].parameters", "the tool's schema"):
        return write_object_schema(rules, entry.tool.parameters)


@contextmanager
def refused_as(param: str, what: str) -> Generator[None]:
    """Within this, what can't be written is refused for a field of the request.

    Raises:
        HeadraceError: `invalid_request`.
    """
    try:
        yield
    except GrammarRefusedError as error:
        place = f" (at {error.place})" if error.place else ""
        message = f"{what} can't be kept to: {error.reason}{place}"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=param) from error


def _check_grammar(grammar: str) -> str:
    if len(grammar) > MAX_GIVEN_CHARACTERS or "\x00" in grammar:
        message = f"the grammar has a NUL or more than {MAX_GIVEN_CHARACTERS} characters"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param="response_format.grammar")
    if "::=" not in grammar:
        message = "the grammar has no rule of the form `root ::= ...`"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param="response_format.grammar")
    return grammar


def _write_text_set(ranges: Ranges) -> str:
    if allowed := intersect(ranges, _TEXT):
        return write_any_set(allowed)
    raise GrammarRefusedError("it needs a character that no text has")

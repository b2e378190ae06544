"""How the answers to a prompt are formed: what restricts them, and what reads them."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import ChoiceFormat, GrammarFormat, JsonSchemaFormat, RegexFormat, TextFormat
from headrace.schema.request import ChatCompletionRequest
from headrace.worker.engines.vllm.grammar.constraint import (
    Constraint,
    after_reasoning,
    constrain,
    constrain_hermes_calls,
    constrain_hermes_calls_or,
)
from headrace.worker.engines.vllm.grammar.forms import AllowedTool, write_calls, write_format
from headrace.worker.engines.vllm.prompt.renderer import RenderedPrompt
from headrace.worker.engines.vllm.reading.base import CallIds, Reader
from headrace.worker.engines.vllm.reading.forced import ForcedCallReader, ReasoningThenCalls
from headrace.worker.engines.vllm.reading.parsed import ParsedReader, ReadingRules
from headrace.worker.engines.vllm.reading.vendor import ParserKit, VendorParsers
from headrace.worker.engines.vllm.sampling import VllmExtension

# Parsers that read calls in the form of Hermes, which we can write a grammar for.
_HERMES = frozenset({"hermes", "qwen3_json"})
_PARAMS: dict[type, str] = {
    JsonSchemaFormat: "response_format.schema",
    RegexFormat: "response_format.pattern",
    ChoiceFormat: "response_format.choices",
    GrammarFormat: "response_format.grammar",
}


class AnswerForm(Struct, frozen=True, kw_only=True):
    """How answers are formed.

    Attributes:
        constraint: what restricts them.
        make_reader: makes the reader of a sequence; None where its text is the answer as it is.
        keeps_special_tokens: special tokens must be in the text for its reader.
        engine_finds_reasoning: the constraint begins where the engine finds the end of the reasoning.
        only_calls: an answer is nothing but calls, which stop texts may not cut.
    """

    constraint: Constraint | None = None
    make_reader: Callable[[int], Reader] | None = None
    keeps_special_tokens: bool = False
    engine_finds_reasoning: bool = False
    only_calls: bool = False


def list_allowed(request: ChatCompletionRequest) -> list[AllowedTool]:
    """Return the tools that may be called."""
    choice = request.tool_choice
    if choice.mode == "none":
        return []
    return [
        AllowedTool(i, tool) for i, tool in enumerate(request.tools) if not choice.names or tool.name in choice.names
    ]


async def write_form_constraint(request: ChatCompletionRequest, *, tool_parser: str) -> Constraint | None:
    """Return what restricts the answers to a request, without their reasoning.

    Args:
        request: what is asked for.
        tool_parser: what reads calls that the model makes of its own accord.

    Raises:
        HeadraceError: `invalid_request`: it can't be kept to; the field is named.
    """
    allowed = list_allowed(request)
    plain = isinstance(request.response_format, TextFormat)
    if plain and request.tool_choice.mode != "required" and not any(entry.tool.strict for entry in allowed):
        return None
    # A large schema takes a while.
    return await asyncio.to_thread(_write_constraint, request, allowed, tool_parser)


def _write_constraint(
    request: ChatCompletionRequest, allowed: Sequence[AllowedTool], tool_parser: str
) -> Constraint | None:
    only_one = not request.tool_choice.parallel
    if request.tool_choice.mode == "required":
        return constrain(write_calls(allowed, only_one=only_one))
    grammar = write_format(request.response_format)
    can_write_calls = bool(allowed) and tool_parser in _HERMES
    if grammar is None:
        is_strict = any(entry.tool.strict for entry in allowed)
        return constrain_hermes_calls(allowed, only_one=only_one) if can_write_calls and is_strict else None
    if can_write_calls:
        return constrain_hermes_calls_or(allowed, grammar, only_one=only_one)
    return constrain(grammar)


def refusal_param(request: ChatCompletionRequest) -> str:
    """Return the field that a constraint of this request comes from."""
    if request.tool_choice.mode == "required":
        return "tools"
    return _PARAMS.get(type(request.response_format), "tools")


def check_beside_constraint(request: ChatCompletionRequest, extension: VllmExtension | None) -> None:
    """Refuse what would leave no token where a constraint leaves few.

    Raises:
        HeadraceError: `invalid_request`, naming the field.
    """
    parameters = request.generation_parameters
    conflicts = {
        "min_tokens": parameters.min_tokens,
        "ignore_eos": parameters.ignore_eos,
        "provider_extensions.vllm.allowed_token_ids": extension and extension.allowed_token_ids,
        "provider_extensions.vllm.bad_words": extension and extension.bad_words,
    }
    for name, value in conflicts.items():
        if value:
            field = name.rsplit(".", 1)[-1]
            message = f"{field} does not go with a response format, a forced tool call or strict tools; leave it out"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=f"generation_parameters.{name}")


def form_answer(
    request: ChatCompletionRequest,
    prompt: RenderedPrompt,
    constraint: Constraint | None,
    *,
    request_id: str,
    parsers: VendorParsers,
    extension: VllmExtension | None,
) -> AnswerForm:
    """Return how the answers to a chat are formed.

    Args:
        request: what is asked for.
        prompt: its chat, rendered.
        constraint: what restricts the answers, without their reasoning.
        request_id: of the job.
        parsers: the model's.
        extension: what the request says to vLLM.
    """
    continues = extension is not None and extension.continues
    thinks_first = not continues and parsers.is_thinking_next(prompt.token_ids)
    is_forced = request.tool_choice.mode == "required"
    allowed = [] if is_forced else list_allowed(request)
    kit = None
    if thinks_first or allowed:
        kit = parsers.open(
            [entry.tool for entry in allowed],
            thinks_first=thinks_first,
            prompt_token_ids=prompt.token_ids,
            template_arguments={} if extension is None else extension.template_arguments,
        )
    rules = ReadingRules(
        names=frozenset(entry.tool.name for entry in allowed),
        only_one=not request.tool_choice.parallel,
        thinks_first=thinks_first,
    )
    whole = constraint
    if constraint is not None and thinks_first and parsers.end_mark:
        whole = after_reasoning(constraint, parsers.end_mark)
    return AnswerForm(
        constraint=whole,
        make_reader=_choose_reader(request, kit, rules, request_id),
        keeps_special_tokens=kit is not None and kit.keeps_special_tokens,
        engine_finds_reasoning=thinks_first and not parsers.end_mark,
        only_calls=is_forced,
    )


def _choose_reader(
    request: ChatCompletionRequest, kit: ParserKit | None, rules: ReadingRules, request_id: str
) -> Callable[[int], Reader] | None:
    only_tool = _only_tool(request)

    def read_parsed(sequence: int) -> ParsedReader:
        if kit is None:
            raise AssertionError("there is nothing to parse with")
        return ParsedReader(kit.make, rules, CallIds(request_id, sequence))

    def read_forced(sequence: int) -> ForcedCallReader:
        return ForcedCallReader(CallIds(request_id, sequence), only_tool=only_tool)

    def read_both(sequence: int) -> ReasoningThenCalls:
        return ReasoningThenCalls(read_parsed(sequence), read_forced(sequence))

    if request.tool_choice.mode == "required":
        return read_both if rules.thinks_first else read_forced
    return None if kit is None else read_parsed


def _only_tool(request: ChatCompletionRequest) -> str | None:
    allowed = list_allowed(request)
    return allowed[0].tool.name if len(allowed) == 1 and not request.tool_choice.parallel else None

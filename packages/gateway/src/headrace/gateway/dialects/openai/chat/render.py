"""Values of the schema in OpenAI's words."""

from msgspec import UNSET, Struct, UnsetType

from headrace.gateway.answer import Answer, SequenceAnswer
from headrace.gateway.dialects.openai.chat.answers import (
    AnsweredFunction,
    AnsweredToolCall,
    AnswerMessage,
    ChatCompletion,
    Choice,
    FinishReason,
)
from headrace.gateway.dialects.openai.chat.logprobs import to_logprobs, to_prompt_logprobs
from headrace.gateway.dialects.openai.chat.signatures import ThoughtBlock, to_block, to_extra
from headrace.gateway.dialects.openai.render import to_usage
from headrace.gateway.dialects.signed_ids import to_signed_id
from headrace.gateway.dialects.signing import to_signature
from headrace.gateway.headers import REQUEST_ID_PREFIX
from headrace.schema import events
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart
from headrace.schema.request import OutputFlags


class Shown(Struct, frozen=True, kw_only=True):
    """What of an answer is shown.

    Attributes:
        output: what was asked for.
        forced_function: one function was forced by its name.
    """

    output: OutputFlags
    forced_function: bool


def to_completion_id(request_id: str) -> str:
    """Return the id that clients of OpenAI expect, made of ours."""
    return f"chatcmpl-{request_id.removeprefix(REQUEST_ID_PREFIX)}"


def to_finish_reason(reason: events.FinishReason, *, forced_function: bool = False) -> FinishReason | None:
    """Return the finish reason, or None for an end that OpenAI has no word for: the answer is not whole then.

    OpenAI ends a call that was forced by its name with `stop`, and every other call with `tool_calls`.
    """
    if reason == "cancelled" or reason == "error":
        return None
    return "stop" if reason == "tool_calls" and forced_function else reason


def to_chat_completion(answer: Answer, *, completion_id: str, model: str, created: int, shown: Shown) -> ChatCompletion:
    """Return the body of a whole answer.

    Raises:
        HeadraceError: `stream_broken`: a sequence was given up.
    """
    output, prompt = shown.output, answer.prompts[0] if answer.prompts else None
    return ChatCompletion(
        id=completion_id,
        created=created,
        model=model,
        choices=tuple(_to_choice(sequence, shown) for sequence in answer.sequences),
        usage=to_usage(answer.usage),
        prompt_logprobs=UNSET if prompt is None or output.prompt_logprobs is None else to_prompt_logprobs(prompt),
        prompt_token_ids=prompt.token_ids if prompt is not None and output.token_ids else UNSET,
    )


def _to_choice(sequence: SequenceAnswer, shown: Shown) -> Choice:
    finish_reason = to_finish_reason(sequence.finish_reason, forced_function=shown.forced_function)
    if finish_reason is None:
        raise broken_sequence()
    return Choice(
        index=sequence.index,
        message=_to_message(sequence, shown.output),
        logprobs=to_logprobs(sequence.logprobs) if shown.output.logprobs else None,
        finish_reason=finish_reason,
        token_ids=sequence.token_ids or () if shown.output.token_ids else UNSET,
    )


def _to_message(sequence: SequenceAnswer, output: OutputFlags) -> AnswerMessage:
    thought: str | UnsetType | None = (sequence.reasoning or None) if output.reasoning else UNSET
    calls = tuple(_to_call(part) for part in sequence.parts if isinstance(part, ToolCallPart))
    extras = [to_extra(to_signature(part)) for part in sequence.parts if isinstance(part, TextPart)]
    return AnswerMessage(
        content=None if not sequence.text and (calls or thought) else sequence.text,
        reasoning_content=thought,
        reasoning=thought,
        thinking_blocks=(_to_blocks(sequence) if output.reasoning else ()) or UNSET,
        extra_content=next((extra for extra in extras if extra is not None), UNSET),
        tool_calls=calls or UNSET,
    )


def _to_blocks(sequence: SequenceAnswer) -> tuple[ThoughtBlock, ...]:
    thoughts = [part for part in sequence.parts if isinstance(part, ReasoningPart)]
    return tuple(to_block(part.text, found) for part in thoughts if (found := to_signature(part)) is not None)


def _to_call(part: ToolCallPart) -> AnsweredToolCall:
    signature = to_signature(part)
    return AnsweredToolCall(
        id=to_signed_id(part.id, signature),
        function=AnsweredFunction(name=part.name, arguments=part.arguments),
        extra_content=to_extra(signature) or UNSET,
    )


def broken_sequence() -> HeadraceError:
    """Return the failure of an answer in which a sequence was given up."""
    return HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its choices did")

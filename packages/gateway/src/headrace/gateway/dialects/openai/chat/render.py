"""Values of the schema in OpenAI's words."""

from headrace.gateway.answer import Answer, SequenceAnswer
from headrace.gateway.dialects.openai.chat.wire import (
    AnswerMessage,
    ChatCompletion,
    Choice,
    FinishReason,
)
from headrace.gateway.dialects.openai.render import to_usage
from headrace.gateway.headers import REQUEST_ID_PREFIX
from headrace.schema import events
from headrace.schema.errors import ErrorCode, HeadraceError


def to_completion_id(request_id: str) -> str:
    """Return the id that clients of OpenAI expect, made of ours."""
    return f"chatcmpl-{request_id.removeprefix(REQUEST_ID_PREFIX)}"


def to_finish_reason(reason: events.FinishReason) -> FinishReason | None:
    """Return the finish reason, or None for an end that OpenAI has no word for: the answer is not whole then."""
    return None if reason in ("cancelled", "error") else reason


def to_chat_completion(answer: Answer, *, completion_id: str, model: str, created: int) -> ChatCompletion:
    """Return the body of a whole answer.

    Raises:
        HeadraceError: `stream_broken`: a sequence was given up.
    """
    return ChatCompletion(
        id=completion_id,
        created=created,
        model=model,
        choices=tuple(_to_choice(sequence) for sequence in answer.sequences),
        usage=to_usage(answer.usage),
    )


def _to_choice(sequence: SequenceAnswer) -> Choice:
    finish_reason = to_finish_reason(sequence.finish_reason)
    if finish_reason is None:
        raise broken_sequence()
    return Choice(index=sequence.index, message=AnswerMessage(content=sequence.text), finish_reason=finish_reason)


def broken_sequence() -> HeadraceError:
    """Return the failure of an answer in which a sequence was given up."""
    return HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its choices did")

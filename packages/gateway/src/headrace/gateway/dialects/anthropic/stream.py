"""The frames of Anthropic's stream.

    message_start, then for each block content_block_start, its content_block_deltas and content_block_stop,
    then message_delta with the reason of the end and the token counts, then message_stop

A stream that fails ends with an `error` frame, and without `message_stop`.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.anthropic.answers import MessageAnswer, MessageDelta, MessageStart
from headrace.gateway.dialects.anthropic.blocks import BlockWriter
from headrace.gateway.dialects.anthropic.errors import to_body
from headrace.gateway.dialects.anthropic.ids import to_message_id, to_own_signature
from headrace.gateway.dialects.anthropic.render import (
    Thinking,
    broken_message,
    to_delta_usage,
    to_message,
    to_message_usage,
    to_stop,
)
from headrace.gateway.failure import Failure, failure_of_error, failure_of_event
from headrace.gateway.frames import encode_value
from headrace.scheduler.base import Submission
from headrace.schema.errors import HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)

_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class AnthropicRendering:
    """Writes the answer to one call.

    Args:
        submission: the call.
        thinking: whether thoughts are shown.
    """

    def __init__(self, submission: Submission, *, thinking: Thinking) -> None:
        self._request_id = submission.request_id
        self._model = submission.request.model
        self._thinking: Thinking = thinking
        self._blocks = BlockWriter(signature=to_own_signature(submission.request_id), thinking=thinking)
        self._input_tokens = 0
        self._has_begun = False
        self._end: SequenceFinished | None = None

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of each event that Anthropic has a word for, one after the other."""
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, SequenceDelta):
                if not self._has_begun:
                    self._begin_once(frames)
                self._blocks.write(event, frames)
            else:
                self._render(event, frames)
        return b"".join(frames)

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer."""
        message = to_message(answer, request_id=self._request_id, model=self._model, thinking=self._thinking)
        return msgspec.json.encode(message)

    def _render(
        self,
        event: GenerationQueued
        | GenerationStarted
        | SequenceStarted
        | SequenceFinished
        | GenerationFinished
        | GenerationFailed
        | PromptEchoed
        | PromptEmbedded,
        frames: list[bytes],
    ) -> None:
        match event:
            case GenerationStarted():
                self._input_tokens = event.input_tokens
            case SequenceStarted():
                self._begin_once(frames)
            case SequenceFinished():
                self._begin_once(frames)
                self._end = event
                self._blocks.close(frames)
            case GenerationFinished():
                frames.append(self._finish(event))
            case GenerationFailed():
                frames.append(self._fail(failure_of_event(event)))
            case GenerationQueued() | PromptEchoed() | PromptEmbedded():
                pass
            case _:
                assert_never(event)

    def _begin_once(self, frames: list[bytes]) -> None:
        """Add the first frame; it waits for the sequence, so that an early failure still has its HTTP status."""
        if self._has_begun:
            return
        self._has_begun = True
        message = MessageAnswer(
            id=to_message_id(self._request_id),
            model=self._model,
            content=(),
            stop_reason=None,
            stop_sequence=None,
            usage=to_message_usage(Usage(self._input_tokens, 0)),
        )
        frames.append(b"event: message_start\ndata: %b\n\n" % encode_value(MessageStart(message=message)))

    def _finish(self, event: GenerationFinished) -> bytes:
        try:
            if self._end is None:
                raise broken_message()
            stop = to_stop(self._end.finish_reason, self._end.stop_sequence)
        except HeadraceError as error:
            return self._fail(failure_of_error(error))
        delta = MessageDelta(delta=stop, usage=to_delta_usage(event.usage))
        return b"event: message_delta\ndata: %b\n\n%b" % (encode_value(delta), _STOP)

    def _fail(self, failure: Failure) -> bytes:
        return b"event: error\ndata: %b\n\n" % encode_value(to_body(failure, request_id=self._request_id))

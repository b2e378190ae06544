"""The frames of OpenAI's stream.

All that is the same in every frame of a stream is made once; a delta costs the escaping of its text and one join.
"""

import time
from collections.abc import Sequence
from typing import assert_never

import msgspec

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.openai.chat.render import (
    broken_sequence,
    to_chat_completion,
    to_completion_id,
    to_finish_reason,
)
from headrace.gateway.dialects.openai.errors import to_body
from headrace.gateway.dialects.openai.render import to_usage
from headrace.gateway.failure import Failure, failure_of_error, failure_of_event
from headrace.gateway.frames import encode_text, encode_value
from headrace.scheduler.base import Submission
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
)

DONE = b"data: [DONE]\n\n"


class OpenAIRendering:
    """Writes the answer to one call.

    Args:
        submission: the call.
        include_usage: whether a stream ends with a frame of token counts.
    """

    def __init__(self, submission: Submission, *, include_usage: bool) -> None:
        self._id = to_completion_id(submission.request_id)
        self._model = submission.request.model
        self._created = int(time.time())
        self._include_usage = include_usage
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            msgspec.json.encode(self._id),
            self._created,
            encode_text(self._model),
        )
        self._head += b'"system_fingerprint":null,"choices":['
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._delta_tail = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._delta_heads: dict[int, bytes] = {}
        self._open: set[int] = set()

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return a frame for each event that OpenAI has a word for, one after the other."""
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, SequenceDelta):
                head = self._delta_heads.get(event.index)
                if head is None:
                    frames.append(self._begin(event.index))
                    head = self._delta_heads[event.index]
                frames += (head, encode_text(event.text), self._delta_tail)
            else:
                frames.append(self._render(event))
        return b"".join(frames)

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer."""
        return msgspec.json.encode(
            to_chat_completion(answer, completion_id=self._id, model=self._model, created=self._created)
        )

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
    ) -> bytes:
        match event:
            case SequenceStarted():
                return b"" if event.index in self._delta_heads else self._begin(event.index)
            case SequenceFinished():
                return self._finish_sequence(event)
            case GenerationFinished():
                return self._finish(event)
            case GenerationFailed():
                return _render_failure(failure_of_event(event))
            case GenerationQueued() | GenerationStarted() | PromptEchoed() | PromptEmbedded():
                return b""
            case _:
                assert_never(event)

    def _begin(self, index: int) -> bytes:
        self._delta_heads[index] = b'%b{"index":%d,"delta":{"content":' % (self._head, index)
        self._open.add(index)
        return b'%b{"index":%d,"delta":{"role":"assistant","content":""%b' % (self._head, index, self._delta_tail)

    def _finish_sequence(self, event: SequenceFinished) -> bytes:
        reason = to_finish_reason(event.finish_reason)
        if reason is None:
            return b""
        self._open.discard(event.index)
        return b'%b{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%b"}%b' % (
            self._head,
            event.index,
            reason.encode(),
            self._tail,
        )

    def _finish(self, event: GenerationFinished) -> bytes:
        if self._open:
            return _render_failure(failure_of_error(broken_sequence()))
        if not self._include_usage:
            return DONE
        return b'%b],"usage":%b}\n\n%b' % (self._head, msgspec.json.encode(to_usage(event.usage)), DONE)


def _render_failure(failure: Failure) -> bytes:
    return b"data: %b\n\n" % encode_value(to_body(failure))

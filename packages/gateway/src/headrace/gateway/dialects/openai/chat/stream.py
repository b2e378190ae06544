"""The frames of OpenAI's stream.

All that is the same in every frame of a stream is made once; a delta of text costs the escaping of its text and one
join. The frame with the role waits for the first delta: what it says of the content depends on what comes.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.openai.chat.deltas import SignedThings, encode_choice_fields, encode_deltas
from headrace.gateway.dialects.openai.chat.render import (
    Shown,
    broken_sequence,
    to_chat_completion,
    to_completion_id,
    to_finish_reason,
)
from headrace.gateway.dialects.openai.errors import to_body, to_chat_param
from headrace.gateway.dialects.openai.render import to_usage
from headrace.gateway.failure import Failure, failure_of_error, failure_of_event
from headrace.gateway.frames import encode_text, encode_value
from headrace.gateway.headers import created_at
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
_NO_TEXT = b"null"
_SOME_TEXT = b'""'


class OpenAIRendering:
    """Writes the answer to one call.

    Args:
        submission: the call.
        include_usage: whether a stream ends with a frame of token counts.
        forced_function: whether one function was forced by its name.
    """

    def __init__(self, submission: Submission, *, include_usage: bool, forced_function: bool = False) -> None:
        output = submission.request.output
        self._id = to_completion_id(submission.request_id)
        self._model = submission.request.model
        self._created = created_at(submission.request_id)
        self._include_usage = include_usage
        self._shown = Shown(output=output, forced_function=forced_function)
        self._is_plain = not (output.logprobs or output.token_ids)
        self._stem = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            msgspec.json.encode(self._id),
            self._created,
            encode_text(self._model),
        )
        self._stem += b'"system_fingerprint":null,'
        self._head = self._stem + b'"choices":['
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._choice_tail = b'"logprobs":null,"finish_reason":null}' + self._tail
        self._text_tail = b"}," + self._choice_tail
        self._text_heads: dict[int, bytes] = {}
        self._open: set[int] = set()
        self._signed: dict[int, SignedThings] = {}
        self._prompt_field = b""

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of these events, one after the other."""
        frames: list[bytes] = []
        for event in events:
            if not isinstance(event, SequenceDelta):
                frames.append(self._render(event))
            elif _has_more_than_text(event) or not self._is_plain:
                frames += self._render_delta(event)
            elif event.text:
                head = self._text_heads.get(event.index)
                if head is None:
                    frames.append(self._begin(event.index, _SOME_TEXT))
                    head = self._text_heads[event.index]
                if self._signed and event.index in self._signed:
                    self._signed[event.index].end_thought()
                frames += (head, encode_text(event.text), self._text_tail)
        return b"".join(frames)

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer."""
        return msgspec.json.encode(
            to_chat_completion(
                answer, completion_id=self._id, model=self._model, created=self._created, shown=self._shown
            )
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
                self._open.add(event.index)
                return b""
            case SequenceFinished():
                return self._finish_sequence(event)
            case GenerationFinished():
                return self._finish(event)
            case GenerationFailed():
                return _render_failure(failure_of_event(event))
            case PromptEchoed():
                if self._shown.output.token_ids:
                    self._prompt_field = b'"prompt_token_ids":%b,' % encode_value(event.token_ids)
                return b""
            case GenerationQueued() | GenerationStarted() | PromptEmbedded():
                return b""
            case _:
                assert_never(event)

    def _begin(self, index: int, content: bytes) -> bytes:
        """Return the frame with the role, behind those of the choices before it.

        The official client appends each choice that it has not seen, and would take one that is early for another.
        """
        earlier = (i for i in range(index) if i not in self._text_heads)
        return b"".join([*(self._begin_one(i, _SOME_TEXT) for i in earlier), self._begin_one(index, content)])

    def _begin_one(self, index: int, content: bytes) -> bytes:
        self._open.add(index)
        self._text_heads[index] = b'%b{"index":%d,"delta":{"content":' % (self._head, index)
        stem, self._prompt_field = self._stem + self._prompt_field, b""
        delta = b'{"role":"assistant","content":%b}' % content
        return b'%b"choices":[{"index":%d,"delta":%b,%b' % (stem, index, delta, self._choice_tail)

    def _render_delta(self, event: SequenceDelta) -> list[bytes]:
        """Return the frames of a delta that has more than text: one, and one more for each piece of a tool call."""
        output = self._shown.output
        fields = encode_choice_fields(event, output)
        deltas = encode_deltas(event, output, self._signed_of(event.index)) or ([b"{}"] if fields is not None else [])
        if not deltas:
            return []
        frames: list[bytes] = []
        if event.index not in self._text_heads:
            thinks = output.reasoning and (event.reasoning or event.thought_signature)
            has_text = bool(event.text) or not (event.tool_calls or thinks)
            frames.append(self._begin(event.index, _SOME_TEXT if has_text else _NO_TEXT))
        head = b'%b{"index":%d,"delta":' % (self._head, event.index)
        first = self._choice_tail if fields is None else fields + self._tail
        frames += (head, deltas[0], b",", first)
        for delta in deltas[1:]:
            frames += (head, delta, b",", self._choice_tail)
        return frames

    def _signed_of(self, index: int) -> SignedThings:
        found = self._signed.get(index)
        if found is None:
            found = self._signed[index] = SignedThings()
        return found

    def _finish_sequence(self, event: SequenceFinished) -> bytes:
        reason = to_finish_reason(event.finish_reason, forced_function=self._shown.forced_function)
        if reason is None:
            return b""
        begun = b"" if event.index in self._text_heads else self._begin(event.index, _SOME_TEXT)
        self._open.discard(event.index)
        return b'%b%b{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%b"}%b' % (
            begun,
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


def _has_more_than_text(event: SequenceDelta) -> bool:
    return bool(event.tool_calls or event.reasoning or event.thought_signature or event.text_signature)


def _render_failure(failure: Failure) -> bytes:
    return b"data: %b\n\n" % encode_value(to_body(failure, to_chat_param))

"""Writes responses: the one that was just created, a stream of its events, and the whole of it."""

import time
from collections.abc import Iterator, Sequence
from typing import Self, assert_never

import msgspec
from msgspec import structs

from headrace.gateway.answer import Answer, SequenceAnswer
from headrace.gateway.dialects.openai.responses.fold import Clock, ResponseFold
from headrace.gateway.dialects.openai.responses.identity import to_response_id
from headrace.gateway.dialects.openai.responses.objects import ReasoningShown, ResponseObject, TextShown
from headrace.gateway.dialects.openai.responses.output import SilentListener
from headrace.gateway.dialects.openai.responses.stream import FrameWriter
from headrace.gateway.dialects.openai.responses.wire import PlainText, ResponseBody
from headrace.gateway.dialects.openai.tiers import shown_tier
from headrace.gateway.dialects.signing import to_signature
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationQueued,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    ToolCallDelta,
    is_terminal,
)
from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart


def to_created(body: ResponseBody, request_id: str, *, created_at: float) -> ResponseObject:
    """Return the response before anything has come of it: what was asked for, with the defaults filled in."""
    text, reasoning = body.text, body.reasoning
    return ResponseObject(
        id=to_response_id(request_id),
        created_at=int(created_at),
        status="queued",
        background=body.background is True,
        frequency_penalty=body.frequency_penalty or 0.0,
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        model=body.model,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        presence_penalty=body.presence_penalty or 0.0,
        previous_response_id=body.previous_response_id,
        prompt_cache_key=body.prompt_cache_key,
        reasoning=ReasoningShown(effort=reasoning.effort if reasoning else None),
        safety_identifier=body.safety_identifier,
        service_tier=shown_tier(body.service_tier),
        store=body.is_kept,
        temperature=body.temperature,
        text=TextShown(
            format=(text.format if text else None) or PlainText(),
            verbosity=(text.verbosity if text else None) or "medium",
        ),
        tool_choice=body.tool_choice or "auto",
        tools=tuple(structs.replace(tool, strict=tool.strict is not False) for tool in body.tools or ()),
        top_logprobs=body.top_logprobs or 0,
        top_p=body.top_p,
        user=body.user,
    )


class ResponseRendering:
    """Writes the answer to one call.

    Args:
        created: the response before anything has come of it.
        after: the number of the last frame of the stream that the client has.
        clock: the time, Unix seconds.

    Attributes:
        created: the response before anything has come of it.
        fold: the response that a stream makes.
    """

    def __init__(self, created: ResponseObject, *, after: int = -1, clock: Clock = time.time) -> None:
        self.created = created
        self._clock = clock
        self._writer = FrameWriter(after=after)
        self._has_begun = False
        self.fold = ResponseFold(self.created, self._writer, clock=clock)

    @classmethod
    def of(cls, request_id: str, *, body: ResponseBody, clock: Clock = time.time) -> Self:
        """Return what writes the answer to a body."""
        return cls(to_created(body, request_id, created_at=clock()), clock=clock)

    def make_fold(self) -> ResponseFold:
        """Return a fold for an answer that is sent in one piece."""
        return ResponseFold(self.created, SilentListener(), clock=self._clock)

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of the next events, one after the other."""
        for event in events:
            if not self._has_begun and not isinstance(event, GenerationQueued | PromptEchoed | PromptEmbedded):
                self._has_begun = True
                self._writer.begin(self.created)
            self.fold.add(event)
            if is_terminal(event):
                self._end()
        return self._writer.take()

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer.

        Raises:
            HeadraceError: `stream_broken`: the answer was given up.
        """
        fold = self.make_fold()
        fold.add_all(list(_to_events(answer)))
        return encode_ended(fold)

    def _end(self) -> None:
        if self.fold.failure is not None:
            self._writer.fail(self.fold.failure)
        if self.fold.ended is not None:
            self._writer.end(self.fold.ended)


def encode_ended(fold: ResponseFold) -> bytes:
    """Return the body of a response that has ended.

    Raises:
        HeadraceError: it failed.
    """
    if fold.failure is not None:
        raise HeadraceError(ErrorCode(fold.failure.code), fold.failure.message, param=fold.failure.param)
    return msgspec.json.encode(fold.snapshot())


def _to_events(answer: Answer) -> Iterator[Event]:
    """Yield a stream that an answer may have come from."""
    for sequence in answer.sequences[:1]:
        yield from _to_deltas(sequence)
        yield SequenceFinished(0, sequence.finish_reason, sequence.stop_sequence)
    yield GenerationFinished(answer.usage)


def _to_deltas(sequence: SequenceAnswer) -> Iterator[SequenceDelta]:
    logprobs, calls = sequence.logprobs, 0
    for part in sequence.parts:
        match part:
            case ReasoningPart():
                yield SequenceDelta(0, "", reasoning=part.text, thought_signature=to_signature(part))
            case TextPart():
                yield SequenceDelta(0, part.text, None, logprobs)
                logprobs = None
            case ToolCallPart():
                call = ToolCallDelta(calls, part.arguments, part.id, part.name, to_signature(part))
                yield SequenceDelta(0, "", tool_calls=(call,))
                calls += 1
            case _:
                assert_never(part)
    if logprobs is not None:
        yield SequenceDelta(0, "", None, logprobs)

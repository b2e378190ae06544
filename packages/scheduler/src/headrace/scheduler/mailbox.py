"""One request's events on their way to the one who reads them.

The mailbox keeps the promises of a stream whatever arrives: an older attempt is fenced off, a chunk that came twice is
dropped, a chunk that is missing ends the stream with an error, every sequence that started finishes, and there is
exactly one terminal event. It merges while its reader is slow, so it is bounded by the length of the answer.
"""

import asyncio
from collections.abc import Sequence
from typing import assert_never

from headrace.schema.errors import ErrorCode, answer_for
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Stage,
    StreamChunk,
    Usage,
)
from headrace.schema.merge import merge_deltas

MERGE_ABOVE = 64


class Mailbox:
    """Collects the events of one request; one reader takes them.

    Attributes:
        request_id: the request.
        model: its model.
        reply_address: the reply queue that its chunks arrive on.
        attempt: the attempt whose chunks are taken.
        worker_id: who runs it, once that is known.
        granted_to: who was granted the attempt, where it is not the first.
        failure: how it failed, if it did.
        usage: its token counts, once it ended and where they are known.
    """

    def __init__(self, request_id: str, *, model: str, reply_address: str) -> None:
        self.request_id = request_id
        self.model = model
        self.reply_address = reply_address
        self.attempt = 1
        self.worker_id: str | None = None
        self.granted_to: str | None = None
        self.failure: GenerationFailed | None = None
        self.usage: Usage | None = None
        self._next_offset = 0
        self._said: set[tuple[type[Event], int]] = set()
        self._has_started = False
        self._has_text = False
        self._ended = False
        self._pending: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event is in."""
        return self._ended

    @property
    def has_text(self) -> bool:
        """Whether any part of an answer is in."""
        return self._has_text

    @property
    def stage(self) -> Stage:
        """How far the generation has come."""
        if self._has_text:
            return "decode"
        return "queue" if self.worker_id is None else "prefill"

    def begin_attempt(self, worker_id: str) -> int:
        """Fence off the attempt so far, which has sent no text yet, and return the number of the next.

        A worker that asks again, because it had no answer, is given the same number again.
        """
        if self.granted_to == worker_id and self.worker_id is None:
            return self.attempt
        self.attempt += 1
        self.granted_to = worker_id
        self.worker_id = None
        self._next_offset = 0
        return self.attempt

    def accept(self, chunk: StreamChunk) -> None:
        """Take a chunk: drop what is old or known, end the stream where something is missing."""
        if self._ended or chunk.attempt != self.attempt:
            return
        known = self._next_offset - chunk.offset
        if known < 0:
            self.fail(ErrorCode.STREAM_BROKEN, "a part of the answer was lost on its way; send the request again")
            return
        events = chunk.events[known:] if known else chunk.events
        self._next_offset += len(events)
        self._put(events)

    def tell_position(self, position: int) -> None:
        """Say how many are ahead, while no worker has it; it is no part of any chunk, and counts in no offset."""
        if self._ended or self._has_started:
            return
        if self._pending and isinstance(self._pending[-1], GenerationQueued):
            # A slow reader needs the newest only.
            self._pending.pop()
        self._put((GenerationQueued(position),))

    def _put(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._ended:
                break
            if type(event) is SequenceDelta:
                self._has_text = True
                self._pending.append(event)
            else:
                self._note(event)
        if len(self._pending) > MERGE_ABOVE:
            self._pending = merge_deltas(self._pending)
        self._wake()

    def _note(self, event: Event) -> None:
        match event:
            case GenerationStarted(worker_id=worker_id):
                self.worker_id = worker_id
                if not self._has_started:
                    self._has_started = True
                    self._pending.append(event)
            case SequenceStarted() | SequenceFinished() | PromptEchoed() | PromptEmbedded():
                # A further attempt says the same once more.
                key = (type(event), event.index)
                if key not in self._said:
                    self._said.add(key)
                    self._pending.append(event)
            case GenerationFinished(usage=usage):
                self._end(event, usage, unfinished="error")
            case GenerationFailed(code=code, usage=usage):
                self.failure = event
                self._end(event, usage, unfinished="cancelled" if code == ErrorCode.CANCELLED else "error")
            case GenerationQueued() | SequenceDelta():
                self._pending.append(event)
            case _:
                assert_never(event)

    def _end(self, event: Event, usage: Usage | None, *, unfinished: FinishReason) -> None:
        started = sorted(index for kind, index in self._said if kind is SequenceStarted)
        for index in started:
            if (SequenceFinished, index) not in self._said:
                self._pending.append(SequenceFinished(index, unfinished))
        self.usage = usage
        self._pending.append(event)
        self._ended = True

    def fail(self, code: ErrorCode, message: str) -> None:
        """End the stream with a failure, unless it has ended."""
        if self._ended:
            return
        self._put((GenerationFailed(code, message, self.stage, answer_for(code).retryable),))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> Sequence[Event]:
        """Return the events since the last call, waiting for some; nothing once the terminal event was returned."""
        # Woken without events is possible: those of a further attempt that are already known are dropped.
        while not self._pending:
            if self._ended:
                return ()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        events, self._pending = self._pending, []
        return events

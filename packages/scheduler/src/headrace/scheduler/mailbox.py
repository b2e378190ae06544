"""One request's events on their way to the one who reads them.

The mailbox keeps the promises of a stream whatever arrives: an older attempt is fenced off, a further attempt goes on
where the one before it stood, a chunk that came twice is dropped, one that is missing is noticed and told again, every
sequence that started finishes, and there is exactly one terminal event. It merges while its reader is slow, so it is
bounded by the length of the answer.
"""

import asyncio
from collections.abc import Sequence
from typing import assert_never

from msgspec import structs

from headrace.schema.control import ToldSequence
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
    says_anything,
)
from headrace.schema.merge import merge_deltas
from headrace.schema.progress import SequenceProgress, SequenceSeam

MERGE_ABOVE = 64


class Mailbox:
    """Collects the events of one request; one reader takes them.

    Attributes:
        request_id: the request.
        model: its model.
        shows_token_ids: whether its reader asked for token ids; workers always tell them, so that others can go on.
        shows_reasoning: whether its reader asked for reasoning, which workers tell for the same reason.
        attempt: the attempt whose chunks are taken.
        worker_id: who runs it, once that is known.
        granted_to: who was granted the attempt, or has picked the task up.
        is_missing: a chunk did not arrive; until the attempt is told from its start, nothing is taken.
        failure: how it failed, if it did.
        usage: its token counts, once it ended and where they are known.
    """

    def __init__(
        self, request_id: str, *, model: str, shows_token_ids: bool = False, shows_reasoning: bool = True
    ) -> None:
        self.request_id = request_id
        self.model = model
        self.attempt = 1
        self.worker_id: str | None = None
        self.granted_to: str | None = None
        self.is_missing = False
        self.failure: GenerationFailed | None = None
        self.usage: Usage | None = None
        self._shows_token_ids = shows_token_ids
        self._shows_reasoning = shows_reasoning
        self._next_offset = 0
        self._progress: dict[int, SequenceProgress] = {}
        self._seams: dict[int, SequenceSeam] = {}
        self._said: set[tuple[type[Event], int]] = set()
        self._input_tokens = 0
        self._has_started = False
        self._has_text = False
        self._ended = False
        self._is_adopted = False
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

    @property
    def can_continue(self) -> bool:
        """Whether a further attempt can go on: all that was told is known as tokens."""
        return all(progress.token_ids or not progress.text_length for progress in self._progress.values())

    @property
    def usage_so_far(self) -> Usage:
        """What the generation has cost so far: as its worker said, or counted from what was told."""
        if self.usage is not None:
            return self.usage
        return Usage(self._input_tokens, sum(len(progress.token_ids) for progress in self._progress.values()))

    def begin_attempt(self, worker_id: str) -> int:
        """Fence off the attempt so far, and return the number of the next, which goes on where that one stood.

        A worker that asks again, because it had no answer, is given the same number again.
        """
        if self.granted_to == worker_id and self.worker_id is None:
            return self.attempt
        self.attempt += 1
        self.granted_to = worker_id
        self.worker_id = None
        self.is_missing = False
        self._next_offset = 0
        self._make_seams()
        return self.attempt

    def take_up(self, events: Sequence[Event], *, attempt: int) -> None:
        """Go on where another gateway's mailbox stood: its reader has been told these events.

        Args:
            events: all of them, with their tokens.
            attempt: the last attempt that is known; a later one may run, and shows itself by its chunks.
        """
        self.attempt = attempt
        self._is_adopted = True
        for event in events:
            match event:
                case SequenceDelta(index=index):
                    self._progress.setdefault(index, SequenceProgress()).note(event)
                    self._has_text = True
                case GenerationStarted(worker_id=worker_id, input_tokens=input_tokens):
                    self.worker_id, self._input_tokens, self._has_started = worker_id, input_tokens, True
                case SequenceStarted() | SequenceFinished() | PromptEchoed() | PromptEmbedded():
                    self._said.add((type(event), event.index))
                case _:
                    pass
        self._make_seams()

    def note_attempt(self, attempt: int, worker_id: str) -> bool:
        """Go over to a later attempt that the gateway that is gone had granted, as the worker that runs it says.

        The next grant then has a number of its own: two workers never run under the same.

        Returns:
            Whether it was one.
        """
        if not self._is_adopted or attempt <= self.attempt:
            return False
        self.attempt, self.granted_to, self.worker_id = attempt, worker_id, None
        self.is_missing, self._next_offset = False, 0
        self._make_seams()
        return True

    def told(self) -> tuple[ToldSequence, ...]:
        """Return what the reader was told so far, for the worker that goes on."""
        return tuple(
            ToldSequence(index, tuple(progress.token_ids), (SequenceFinished, index) in self._said)
            for index, progress in sorted(self._progress.items())
        )

    def accept(self, chunk: StreamChunk) -> None:
        """Take a chunk: drop what is old or known, and note where something is missing."""
        if self._is_adopted and chunk.attempt > self.attempt:
            # Granted by the gateway that is gone, which could not say so any more.
            self.attempt, self.granted_to, self._next_offset = chunk.attempt, None, 0
            self._make_seams()
        if self._ended or chunk.attempt != self.attempt:
            return
        if chunk.retells:
            self._accept_retold(chunk)
            return
        known = self._next_offset - chunk.offset
        if known < 0:
            self.is_missing = True
            return
        events = chunk.events[known:] if known else chunk.events
        self._next_offset += len(events)
        self._put(events)

    def _accept_retold(self, chunk: StreamChunk) -> None:
        """Take an attempt told from its start: the reader gets what it does not have."""
        if chunk.offset < self._next_offset:
            return
        self.is_missing = False
        self._next_offset = chunk.offset
        self._make_seams()
        self._put(chunk.events)

    def _make_seams(self) -> None:
        self._seams = {index: SequenceSeam(progress) for index, progress in self._progress.items()}

    def tell_queued(self, queued: GenerationQueued) -> None:
        """Say how it waits, while no worker has it; that is no part of any chunk, and counts in no offset."""
        if self._ended or self._has_started:
            return
        if self._pending and isinstance(self._pending[-1], GenerationQueued):
            # A slow reader needs the newest only.
            self._pending.pop()
        self._put((queued,))

    def _put(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._ended:
                break
            if type(event) is SequenceDelta:
                self._put_delta(event)
            else:
                self._note(event)
        if len(self._pending) > MERGE_ABOVE:
            self._pending = merge_deltas(self._pending)
        self._wake()

    def _put_delta(self, delta: SequenceDelta) -> None:
        if self._seams and (seam := self._seams.get(delta.index)) is not None:
            try:
                rest = seam.trim(delta)
            except ValueError:
                self.fail(ErrorCode.WORKER_LOST, "another worker can't go on with this answer; send the request again")
                return
            if seam.is_passed:
                del self._seams[delta.index]
            if rest is None:
                return
            delta = rest
        progress = self._progress.get(delta.index)
        if progress is None:
            progress = self._progress[delta.index] = SequenceProgress()
        progress.note(delta)
        self._has_text = True
        if (delta.reasoning or delta.thought_signature) and not self._shows_reasoning:
            delta = _without_reasoning(delta)
        if delta.token_ids is not None and not self._shows_token_ids:
            delta = _without_token_ids(delta)
        if says_anything(delta):
            self._pending.append(delta)

    def _note(self, event: Event) -> None:
        match event:
            case GenerationStarted(worker_id=worker_id, input_tokens=input_tokens):
                self.worker_id = worker_id
                self._input_tokens = input_tokens
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
        usage = self.usage_so_far if self._has_started else None
        self._put((GenerationFailed(code, message, self.stage, answer_for(code).retryable, usage),))

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


def _without_token_ids(delta: SequenceDelta) -> SequenceDelta:
    # Written out, since it is done for every token.
    return SequenceDelta(
        delta.index,
        delta.text,
        None,
        delta.logprobs,
        delta.reasoning,
        delta.tool_calls,
        delta.thought_signature,
        delta.text_signature,
    )


def _without_reasoning(delta: SequenceDelta) -> SequenceDelta:
    """Return what is left of a delta for a reader that did not ask for reasoning: nothing of its tokens either."""
    if delta.text or delta.text_signature or delta.tool_calls:
        return structs.replace(delta, reasoning="", thought_signature=None)
    return SequenceDelta(delta.index, "")

"""The retained generations of this process: opened, taken up again, cancelled, and adopted from one that died."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct, structs

from headrace.gateway.call import Call
from headrace.gateway.facts import GatewayObserver
from headrace.gateway.failure import CallFailedError, event_of_failure, failure_of_error
from headrace.gateway.headers import IDEMPOTENCY_HEADER
from headrace.gateway.retained.adopted import adopted_call
from headrace.gateway.retained.encoding import (
    UnreadableError,
    decode_record,
    decode_submission,
    encode_submission,
    make_claim,
)
from headrace.gateway.retained.ending import close_events, lost_before_queue
from headrace.gateway.retained.reader import UNKNOWN_RECORD, RetainedReader
from headrace.gateway.retained.running import RunningGeneration
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Adoption, Generation, GenerationRecord, GenerationSource, Submission
from headrace.schema.caller import Caller, RateLimits
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed
from headrace.schema.settings import RetentionSettings
from headrace.transport.retention import (
    EventLog,
    IdempotencyClaim,
    Orphan,
    RetainedHead,
    RetentionFullError,
    RetentionStore,
    RetentionUnavailableError,
)
from headrace.transport.tasks import TaskOwner

ADOPT_SECONDS = 1.0
# A larger request is made canonical in a thread, so that the streams of others go on.
ASIDE_BYTES = 64 * 1024
# Others may need a moment to keep what they have just claimed a key for, or to let go of it.
TRIES = 3

_log = structlog.get_logger("headrace.gateway")


class Taken(Struct, frozen=True, kw_only=True):
    """A generation that a call reads.

    Attributes:
        reader: reads it from its start.
        submission: with the id that it has.
        is_replay: another call began it.
    """

    reader: RetainedReader
    submission: Submission
    is_replay: bool


class RetainedGenerations:
    """Owns them. A `RetentionOwner` for its store.

    Args:
        source: runs them.
        store: keeps them.
        settings: how much is kept.
        default_timeout_seconds: how long one may take that does not say.
        observers: are told of those that were adopted.
        let_go: makes the scheduler forget generations that are left to other gateways, without cancelling them.
        drop: has the workers drop a generation that nobody goes on with, by its id and its deadline (Unix seconds).
        clock: Unix seconds.
    """

    def __init__(
        self,
        source: GenerationSource,
        store: RetentionStore,
        *,
        settings: RetentionSettings,
        default_timeout_seconds: float,
        observers: Sequence[GatewayObserver] = (),
        let_go: Callable[[Sequence[str]], None] = lambda _: None,
        drop: Callable[[str, float], None] = lambda _id, _deadline: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._settings = settings
        self._default_timeout_seconds = default_timeout_seconds
        self._observers = observers
        self._let_go = let_go
        self._drop = drop
        self._clock = clock
        self._running: dict[str, tuple[RunningGeneration, asyncio.Task[None]]] = {}
        # Logs with readers that came later, of generations of ours and of other gateways.
        self._followed: set[EventLog] = set()
        self._tasks = TaskOwner()
        self._adopting = TaskOwner()

    async def start(self) -> None:
        """Begin to look for generations whose gateway is gone."""
        await self._store.start(self)
        self._adopting.start(self._adopt_orphans(), name="adopt generations")

    async def open(self, submission: Submission, *, key: str | None, call: Call) -> Taken:
        """Begin a generation, or find the one that the key stands for.

        Args:
            submission: what to generate.
            key: the client's idempotency key.
            call: says what becomes of the generation, if it begins here.

        Raises:
            CallFailedError: it is not accepted, which the call has said.
            RetentionRefusedError: it can't be retained now.
            HeadraceError: `conflict`: the key stands for another request.
        """
        submission = structs.replace(submission, retained=True)
        encoded = encode_submission(submission)
        claim = None
        if key is not None:
            is_large = len(encoded) > ASIDE_BYTES
            claim = await asyncio.to_thread(make_claim, key, submission) if is_large else make_claim(key, submission)
        head = self._make_head(submission, encoded, claim)
        for _ in range(TRIES):
            try:
                opened = await self._store.open(head)
            except RetentionUnavailableError as error:
                raise unavailable(error) from None
            except RetentionFullError:
                message = "as many generations are retained as may be; try again soon, or without retention"
                raise RetentionRefusedError(ErrorCode.OVERLOADED, message) from None
            if opened.log is not None:
                return await self._begin(submission, opened.log, call)
            if head.claim is None or opened.sha256 != head.claim.sha256:
                message = f"the header {IDEMPOTENCY_HEADER} was sent before, with another request"
                raise HeadraceError(ErrorCode.CONFLICT, message, param=IDEMPOTENCY_HEADER)
            if (held := await self._find(opened.request_id)) is not None:
                replayed = structs.replace(submission, request_id=opened.request_id)
                return Taken(reader=await self._read(held, replayed), submission=replayed, is_replay=True)
        message = f"the generation that the header {IDEMPOTENCY_HEADER} stands for has just ended; try again"
        raise HeadraceError(ErrorCode.OVERLOADED, message)

    def _make_head(self, submission: Submission, encoded: bytes, claim: IdempotencyClaim | None) -> RetainedHead:
        now = self._clock()
        return RetainedHead(
            request_id=submission.request_id,
            tenant_id=submission.caller.tenant_id,
            submission=encoded,
            submitted_at=now,
            deadline=now + (submission.timeout_seconds or self._default_timeout_seconds),
            claim=claim,
        )

    async def _begin(self, submission: Submission, log: EventLog, call: Call) -> Taken:
        running = RunningGeneration(log, self._store, call=call, max_bytes=self._settings.max_bytes)
        call.open()
        try:
            generation = await self._source.submit(submission)
        except HeadraceError as error:
            failure = failure_of_error(error)
        except Exception as error:  # noqa: BLE001 - an edge: what a source may not raise is answered as ours
            failure = report_unexpected(error, request_id=submission.request_id)
        except BaseException:
            running.end(shutting_down())
            raise
        else:
            return self._run_first(submission, running, generation, log)
        # Others may wait for it already: they are told, and the key is free. It takes the place of no answer.
        running.end(event_of_failure(failure), forgets=True)
        raise CallFailedError(failure)

    def _run_first(
        self, submission: Submission, running: RunningGeneration, generation: Generation, log: EventLog
    ) -> Taken:
        limits = generation.rate_limits
        self._run(running, generation)
        reader = self._reader(log, submission, generation, limits=limits)
        return Taken(reader=reader, submission=submission, is_replay=False)

    def _run(self, running: RunningGeneration, generation: Generation) -> None:
        request_id = generation.request_id
        task = self._tasks.start(running.run(generation), name=f"retained {request_id}")
        self._running[request_id] = (running, task)
        task.add_done_callback(lambda _: self._running.pop(request_id, None))

    def _reader(
        self, log: EventLog, submission: Submission, generation: Generation, *, limits: RateLimits | None
    ) -> RetainedReader:
        log.readers += 1
        return RetainedReader(
            log,
            output=submission.request.output,
            on_close=self._unfollow,
            generation=generation,
            rate_limits=limits,
        )

    async def _read(self, head: RetainedHead, submission: Submission) -> RetainedReader:
        try:
            log = await self._store.follow(head)
        except RetentionUnavailableError as error:
            raise unavailable(error) from None
        self._followed.add(log)
        running = self._running.get(head.request_id)
        return RetainedReader(
            log,
            output=submission.request.output,
            on_close=self._unfollow,
            generation=None if running is None else running[0].generation,
            record=_record_of(head),
        )

    def _unfollow(self, log: EventLog) -> None:
        self._store.unfollow(log)
        if not log.readers:
            self._followed.discard(log)

    async def _find(self, request_id: str) -> RetainedHead | None:
        try:
            return await self._store.find(request_id)
        except RetentionUnavailableError as error:
            raise unavailable(error) from None

    async def take_up(self, request_id: str, caller: Caller) -> Taken:
        """Return a reader of a generation that is kept, wherever it runs or ran.

        Raises:
            HeadraceError: `not_found`: none of that id is kept, or it is another tenant's.
        """
        head = await self._find(request_id)
        if head is None or head.tenant_id != caller.tenant_id:
            raise unknown_generation()
        try:
            submission = decode_submission(head.submission)
        except UnreadableError as error:
            _log.error("retained generation not read", request_id=request_id, reason=str(error))
            raise unknown_generation() from None
        return Taken(reader=await self._read(head, submission), submission=submission, is_replay=True)

    async def cancel(self, request_id: str, caller: Caller) -> bool:
        """Cancel a retained generation wherever it runs; tell whether it did.

        Raises:
            HeadraceError: the store can't be reached.
        """
        try:
            head = await self._find(request_id)
            if head is None or head.tenant_id != caller.tenant_id:
                return False
            return await self._store.request_cancel(request_id)
        except RetentionUnavailableError as error:
            raise unavailable(error) from None

    def cancel_owned(self, request_id: str) -> None:
        """Cancel a generation of ours, because somebody asked for it elsewhere."""
        self._source.cancel(request_id)

    def lose_owned(self, request_id: str) -> None:
        """Write no more of a generation; it is read on, so that its end is noted, and cancelled by nobody."""

    async def _adopt_orphans(self) -> None:
        while True:
            await asyncio.sleep(ADOPT_SECONDS)
            for running, _ in self._running.values():
                running.say()
            try:
                while (orphan := await self._store.claim_orphan()) is not None:
                    await self._adopt_or_end(orphan)
            except RetentionUnavailableError:
                continue
            except Exception as error:  # noqa: BLE001 - an edge: one orphan that nobody planned for leaves the others
                report_unexpected(error, request_id=None)

    async def _adopt_or_end(self, orphan: Orphan) -> None:
        head, log = orphan.head, orphan.log
        try:
            await self._adopt(orphan)
        except Exception as error:  # noqa: BLE001 - an edge: nobody else goes on with it, so it is to end here
            failure = report_unexpected(error, request_id=head.request_id)
            if head.request_id in self._running:
                # It is read, and so it ends by itself.
                return
            if not log.has_ended:
                self._store.write(log, close_events(log.events, event_of_failure(failure)))
            self._stop_workers(head)

    async def _adopt(self, orphan: Orphan) -> None:
        head, log = orphan.head, orphan.log
        try:
            submission = decode_submission(head.submission)
            record = decode_record(head.facts) if head.facts else None
        except UnreadableError as error:
            # Somebody newer will understand it.
            _log.error("retained generation not read", request_id=head.request_id, reason=str(error))
            self._store.disown(log)
            return
        call = adopted_call(submission, self._observers)
        call.open()
        running = RunningGeneration(log, self._store, call=call, max_bytes=self._settings.max_bytes)
        if record is None:
            running.end(lost_before_queue())
            # It may have been on its way all the same.
            self._stop_workers(head)
            return
        adoption = Adoption(
            submission=submission,
            submitted_at=head.submitted_at,
            deadline=head.deadline,
            events=tuple(log.events),
            record=record,
        )
        try:
            generation = await self._source.adopt(adoption)
        except HeadraceError as error:
            running.end(event_of_failure(failure_of_error(error)))
            self._stop_workers(head, task_id=record.task_id)
            return
        except Exception as error:  # noqa: BLE001 - an edge: one that can't be adopted must not keep the others out
            running.end(event_of_failure(report_unexpected(error, request_id=head.request_id)))
            self._stop_workers(head, task_id=record.task_id)
            return
        _log.warning("generation adopted", request_id=head.request_id, events=len(log.events))
        self._run(running, generation)
        if head.is_cancelled:
            self._source.cancel(head.request_id)

    def _stop_workers(self, head: RetainedHead, *, task_id: str = "") -> None:
        """Stop what runs of a generation that has ended here: a worker would go on with it for nobody."""
        if not self._source.cancel(head.request_id):
            self._drop(task_id or head.request_id, head.deadline)

    async def finish(self) -> None:
        """End with the process: leave what runs to other gateways, or wait for it where there can be none."""
        await self._adopting.close()
        if self._store.is_shared:
            await self.leave()
        else:
            await self._tasks.join()

    async def leave(self) -> None:
        """Leave what runs to other gateways, if they see it: they adopt it at once.

        Nothing of it is cancelled; its readers here, and those of what runs elsewhere, are told to ask elsewhere.
        """
        if not self._store.is_shared:
            return
        await self._adopting.close()
        await self._store.release()
        self._let_go(tuple(self._running))
        for running, task in list(self._running.values()):
            running.leave(shutting_down())
            task.cancel()
        for log in self._followed:
            log.break_off(shutting_down())
        await self._tasks.join()

    async def close(self) -> None:
        """Stop; what still runs is another gateway's when its lease has run out."""
        await self.leave()
        await self._adopting.close()
        await self._tasks.close()
        await self._store.close()


class RetentionRefusedError(HeadraceError):
    """A generation can't be retained, or one that is can't be found, now."""


def _record_of(head: RetainedHead) -> GenerationRecord:
    with suppress(UnreadableError):
        record = decode_record(head.facts) if head.facts else UNKNOWN_RECORD
        return record if record.target else UNKNOWN_RECORD
    return UNKNOWN_RECORD


def unavailable(error: RetentionUnavailableError) -> RetentionRefusedError:
    """Return the failure of a call while the store is away."""
    return RetentionRefusedError(ErrorCode.BROKER_UNAVAILABLE, f"{error}; try again soon, or without retention")


def shutting_down() -> GenerationFailed:
    """Return what a reader is told when this process ends; it is no part of the generation."""
    message = "this gateway is shutting down; take the generation up again by its id"
    return GenerationFailed(ErrorCode.SHUTTING_DOWN, message, "reply", retryable=True)


def unknown_generation() -> HeadraceError:
    """Return the failure of a call for a generation that is not kept."""
    return HeadraceError(ErrorCode.NOT_FOUND, "there is no generation with this id, or it is kept no more", param="id")

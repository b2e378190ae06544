"""The retained generations that calls ask for: opened, taken up again, gone on with, cancelled."""

import time
from collections.abc import Callable, Sequence

import structlog
from msgspec import structs

from headrace.gateway.call import Call
from headrace.gateway.facts import GatewayObserver
from headrace.gateway.failure import CallFailedError, event_of_failure, failure_of_error
from headrace.gateway.headers import IDEMPOTENCY_HEADER
from headrace.gateway.retained.adopting import Adopter
from headrace.gateway.retained.encoding import (
    claim_of,
    encode_submission,
)
from headrace.gateway.retained.kept import KeptGenerations, Taken
from headrace.gateway.retained.owned import OwnedGenerations
from headrace.gateway.retained.places import NamedPlace
from headrace.gateway.retained.refusals import (
    key_is_taken,
    shutting_down,
    store_is_full,
    unavailable,
)
from headrace.gateway.retained.running import RunningGeneration
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation, GenerationSource, Submission
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import RetentionSettings
from headrace.transport.retention import (
    EventLog,
    IdempotencyClaim,
    RetainedHead,
    RetentionFullError,
    RetentionStore,
    RetentionUnavailableError,
)

# Others may need a moment to keep what they have just claimed a key for, or to let go of it.
TRIES = 3

_log = structlog.get_logger("headrace.gateway")


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
        self._let_go = let_go
        self._clock = clock
        self._owned = OwnedGenerations()
        self._adopter = Adopter(
            source, store, self._owned, max_bytes=settings.max_bytes, observers=observers, drop=drop
        )
        self._kept = KeptGenerations(store, self._owned)

    async def start(self) -> None:
        """Begin to look for generations whose gateway is gone."""
        await self._store.start(self)
        self._adopter.start()

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
        claim = None if key is None else await claim_of(key, submission)
        head = self._make_head(submission, encoded, claim)
        for _ in range(TRIES):
            try:
                opened = await self._store.open(head)
            except RetentionUnavailableError as error:
                raise unavailable(error) from None
            except RetentionFullError:
                raise store_is_full() from None
            if opened.log is not None:
                return await self._begin(submission, opened.log, call)
            if head.claim is None or opened.sha256 != head.claim.sha256:
                raise key_is_taken()
            if (held := await self._kept.find(opened.request_id)) is not None:
                replayed = structs.replace(submission, request_id=opened.request_id)
                return Taken(reader=await self._kept.read(held, replayed), submission=replayed, is_replay=True)
        message = f"the generation that the header {IDEMPOTENCY_HEADER} stands for has just ended; try again"
        raise HeadraceError(ErrorCode.OVERLOADED, message)

    async def go_on(self, submission: Submission, *, key: str, place: NamedPlace) -> Taken:
        """Find the generation in whose stream a client has come to a place; see `KeptGenerations`."""
        return await self._kept.go_on(submission, key=key, place=place)

    async def take_up(self, request_id: str, caller: Caller) -> Taken:
        """Return a reader of a generation that is kept, wherever it runs or ran; see `KeptGenerations`."""
        return await self._kept.take_up(request_id, caller)

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
        self._owned.run(running, generation)
        reader = self._kept.read_first(log, submission, generation, limits=limits)
        return Taken(reader=reader, submission=submission, is_replay=False)

    async def cancel(self, request_id: str, caller: Caller) -> bool:
        """Cancel a retained generation wherever it runs; tell whether it did.

        Raises:
            HeadraceError: the store can't be reached.
        """
        try:
            head = await self._kept.find(request_id)
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

    async def finish(self) -> None:
        """End with the process: leave what runs to other gateways, or wait for it where there can be none."""
        await self._adopter.close()
        if self._store.is_shared:
            await self.leave()
        else:
            await self._owned.join()

    async def leave(self) -> None:
        """Leave what runs to other gateways, if they see it: they adopt it at once.

        Nothing of it is cancelled; its readers here, and those of what runs elsewhere, are told to ask elsewhere.
        """
        if not self._store.is_shared:
            return
        await self._adopter.close()
        await self._store.release()
        self._let_go(self._owned.ids)
        self._owned.leave()
        self._kept.break_off()
        await self._owned.join()

    async def close(self) -> None:
        """Stop; what still runs is another gateway's when its lease has run out."""
        await self.leave()
        await self._adopter.close()
        await self._owned.close()
        await self._store.close()

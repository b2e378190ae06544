"""Goes on with retained generations whose gateway is gone, or ends them where nobody can."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from headrace.gateway.facts import GatewayObserver
from headrace.gateway.failure import event_of_failure, failure_of_error
from headrace.gateway.retained.adopted import adopted_call
from headrace.gateway.retained.encoding import UnreadableError, decode_record, decode_submission
from headrace.gateway.retained.ending import close_events, lost_before_queue
from headrace.gateway.retained.owned import OwnedGenerations
from headrace.gateway.retained.running import RunningGeneration
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Adoption, GenerationSource
from headrace.schema.errors import HeadraceError
from headrace.transport.retention import Orphan, RetainedHead, RetentionStore, RetentionUnavailableError
from headrace.transport.tasks import TaskOwner

ADOPT_SECONDS = 1.0

_log = structlog.get_logger("headrace.gateway")


class Adopter:
    """Looks for them once a second.

    Args:
        source: goes on with them.
        store: where they are found.
        owned: reads them.
        max_bytes: a generation whose events are more than this is ended.
        observers: are told of each.
        drop: has the workers drop a generation that nobody goes on with, by its id and its deadline (Unix seconds).
    """

    def __init__(
        self,
        source: GenerationSource,
        store: RetentionStore,
        owned: OwnedGenerations,
        *,
        max_bytes: int,
        observers: Sequence[GatewayObserver],
        drop: Callable[[str, float], None],
    ) -> None:
        self._source = source
        self._store = store
        self._owned = owned
        self._max_bytes = max_bytes
        self._observers = observers
        self._drop = drop
        self._tasks = TaskOwner()

    def start(self) -> None:
        """Begin to look."""
        self._tasks.start(self._run(), name="adopt generations")

    async def close(self) -> None:
        """Look no more."""
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ADOPT_SECONDS)
            self._owned.say()
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
            if head.request_id in self._owned:
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
        running = RunningGeneration(log, self._store, call=call, max_bytes=self._max_bytes)
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
        self._owned.run(running, generation)
        if head.is_cancelled:
            self._source.cancel(head.request_id)

    def _stop_workers(self, head: RetainedHead, *, task_id: str = "") -> None:
        """Stop what runs of a generation that has ended here: a worker would go on with it for nobody."""
        if not self._source.cancel(head.request_id):
            self._drop(task_id or head.request_id, head.deadline)

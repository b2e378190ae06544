"""A retained generation that this process owns: read to its end, whoever listens."""

import asyncio
from collections.abc import Sequence

from headrace.gateway.call import Call
from headrace.gateway.failure import event_of_failure, failure_of_event
from headrace.gateway.reading import next_batch
from headrace.gateway.retained.encoding import encode_record
from headrace.gateway.retained.ending import close_events, frees_key, too_large
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation, GenerationRecord
from headrace.schema.events import Event, GenerationFailed, is_terminal
from headrace.transport.retention import EventLog, RetentionStore


class RunningGeneration:
    """Moves the events of a generation into its log.

    Args:
        log: where they go.
        store: keeps them.
        call: says what became of it; it is opened.
        max_bytes: a generation whose events are more than this is ended.

    Attributes:
        generation: what is read, once it is.
    """

    def __init__(self, log: EventLog, store: RetentionStore, *, call: Call, max_bytes: int) -> None:
        self._log = log
        self._store = store
        self._call = call
        self._max_bytes = max_bytes
        self._is_left = False
        self.generation: Generation | None = None
        self._said: tuple[str, str, int, str] | None = None

    async def run(self, generation: Generation) -> None:
        """Read a generation to its end, or until it is too large."""
        self.generation = generation
        try:
            self.say()
            ended = False
            while not ended:
                batch = await next_batch(generation)
                ended = self._take(batch, generation.record)
        except Exception as error:  # noqa: BLE001 - an edge: nobody waits for this task, and no stream may just stop
            failure = report_unexpected(error, request_id=generation.request_id)
            self.fail(event_of_failure(failure))
        finally:
            if not self._is_left:
                await asyncio.shield(generation.aclose())
                self._call.record = generation.record
                self._call.close()

    def leave(self, said: GenerationFailed) -> None:
        """Let another process go on with it: it is not closed, and its readers here are told so."""
        self._is_left = True
        self._log.break_off(said)

    def end(self, failure: GenerationFailed, *, forgets: bool = False) -> None:
        """End one that has no generation to run, and may be forgotten with its key: nothing was told of it."""
        self.fail(failure, forgets=forgets)
        self._call.close()

    def fail(self, failure: GenerationFailed, *, forgets: bool = False) -> None:
        """End it with a failure of ours."""
        if not self._log.has_ended:
            self._end(close_events(self._log.events, failure), forgets=forgets)

    def _take(self, batch: Sequence[Event], record: GenerationRecord) -> bool:
        if is_terminal(batch[-1]):
            self._say(record)
            self._end(batch)
            return True
        self._call.note(batch)
        self._say(record)
        self._store.write(self._log, batch)
        if self._log.size_bytes > self._max_bytes:
            self.fail(too_large(self._max_bytes, record))
            return True
        return False

    def _end(self, batch: Sequence[Event], *, forgets: bool = False) -> None:
        last = batch[-1]
        self._call.note(batch)
        if isinstance(last, GenerationFailed):
            self._call.fail(failure_of_event(last))
        is_free = frees_key((*self._log.events, *batch), last)
        self._store.write(self._log, batch, frees_key=is_free, forgets=forgets)

    def say(self) -> None:
        """Keep what another process must know to go on, also while nothing is told."""
        if self.generation is not None and not self._log.has_ended:
            self._say(self.generation.record)

    def _say(self, record: GenerationRecord) -> None:
        said = (record.route, record.target, record.attempts, record.task_id)
        if said != self._said:
            self._said = said
            self._store.write(self._log, facts=encode_record(record))

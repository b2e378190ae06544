"""The retained generations that are kept, here or elsewhere: found again, and read from any place by who may."""

from contextlib import suppress

import structlog
from msgspec import Struct, structs

from headrace.gateway.headers import IDEMPOTENCY_HEADER
from headrace.gateway.retained.encoding import UnreadableError, claim_of, decode_record, decode_submission
from headrace.gateway.retained.owned import OwnedGenerations
from headrace.gateway.retained.places import NamedPlace
from headrace.gateway.retained.reader import UNKNOWN_RECORD, RetainedReader
from headrace.gateway.retained.refusals import (
    beyond_the_end,
    kept_no_more,
    key_is_taken,
    of_another_generation,
    shutting_down,
    unavailable,
    unknown_generation,
)
from headrace.scheduler.base import Generation, GenerationRecord, Submission
from headrace.schema.caller import Caller, RateLimits
from headrace.transport.retention import EventLog, RetainedHead, RetentionStore, RetentionUnavailableError

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


class KeptGenerations:
    """Finds and reads them.

    Args:
        store: keeps them.
        owned: those that run in this process.
    """

    def __init__(self, store: RetentionStore, owned: OwnedGenerations) -> None:
        self._store = store
        self._owned = owned
        # Logs with readers that came later, of generations of ours and of other gateways.
        self._followed: set[EventLog] = set()

    async def find(self, request_id: str) -> RetainedHead | None:
        """Return what is kept of a generation beside its events, or None.

        Raises:
            RetentionRefusedError: the store can't be reached.
        """
        try:
            return await self._store.find(request_id)
        except RetentionUnavailableError as error:
            raise unavailable(error) from None

    async def take_up(self, request_id: str, caller: Caller) -> Taken:
        """Return a reader of a generation that is kept, wherever it runs or ran.

        Raises:
            HeadraceError: `not_found`: none of that id is kept, or it is another tenant's.
        """
        head = await self.find(request_id)
        if head is None or head.tenant_id != caller.tenant_id:
            raise unknown_generation()
        try:
            submission = decode_submission(head.submission)
        except UnreadableError as error:
            _log.error("retained generation not read", request_id=request_id, reason=str(error))
            raise unknown_generation() from None
        return Taken(reader=await self.read(head, submission), submission=submission, is_replay=True)

    async def go_on(self, submission: Submission, *, key: str, place: NamedPlace) -> Taken:
        """Find the generation in whose stream a client has come to a place. Nothing is ever begun for it.

        Args:
            submission: what the client asks for.
            key: the idempotency key, which the generation must have been begun with.
            place: of the client.

        Raises:
            RetentionRefusedError: the store can't be reached.
            HeadraceError: `conflict`: the generation is kept no more, it is none of this key, or its stream has no such
                place; or the key stands for another request.
        """
        submission = structs.replace(submission, retained=True, request_id=place.request_id)
        claim = await claim_of(key, submission)
        head = await self.find(place.request_id)
        if head is None or head.tenant_id != submission.caller.tenant_id:
            raise kept_no_more(place.request_id)
        if head.claim is None or head.claim.key != claim.key:
            raise of_another_generation(place.request_id, wanted=f"the one of this {IDEMPOTENCY_HEADER}")
        if head.claim.sha256 != claim.sha256:
            raise key_is_taken()
        taken = Taken(reader=await self.read(head, submission), submission=submission, is_replay=True)
        await check_place(place, taken.reader)
        return taken

    async def read(self, head: RetainedHead, submission: Submission) -> RetainedReader:
        """Return a reader of a generation that was found.

        Raises:
            RetentionRefusedError: the store can't be reached.
        """
        try:
            log = await self._store.follow(head)
        except RetentionUnavailableError as error:
            raise unavailable(error) from None
        self._followed.add(log)
        return RetainedReader(
            log,
            output=submission.request.output,
            on_close=self._unfollow,
            generation=self._owned.find(head.request_id),
            record=_record_of(head),
            stored=head.count,
        )

    def read_first(
        self, log: EventLog, submission: Submission, generation: Generation, *, limits: RateLimits | None
    ) -> RetainedReader:
        """Return the reader of the call that began a generation in this process."""
        log.readers += 1
        return RetainedReader(
            log,
            output=submission.request.output,
            on_close=self._unfollow,
            generation=generation,
            rate_limits=limits,
        )

    def _unfollow(self, log: EventLog) -> None:
        self._store.unfollow(log)
        if not log.readers:
            self._followed.discard(log)

    def break_off(self) -> None:
        """Tell the readers that came later that this process ends, and to ask elsewhere."""
        for log in self._followed:
            log.break_off(shutting_down())


async def check_place(place: NamedPlace, reader: RetainedReader) -> None:
    """Close the reader of a generation whose stream does not have the place that its client names, and say so.

    Raises:
        HeadraceError: `conflict`.
    """
    wanted = f"'{reader.request_id}'"
    if place.request_id != reader.request_id:
        await reader.aclose()
        raise of_another_generation(place.request_id, wanted=wanted)
    if place.place.least_events > reader.told:
        await reader.aclose()
        raise beyond_the_end(place.text, reader.told)


def _record_of(head: RetainedHead) -> GenerationRecord:
    with suppress(UnreadableError):
        record = decode_record(head.facts) if head.facts else UNKNOWN_RECORD
        return record if record.target else UNKNOWN_RECORD
    return UNKNOWN_RECORD

"""The contract of a store of retained generations. One test suite holds every implementation to it.

A generation has one owner at a time: the process that reads it and writes its events. It says that it lives by renewing
its leases; one whose lease has run out is an orphan, which another process may claim. Everybody may read.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, GenerationFailed
from headrace.transport.retention.log import EventLog

LEASE_SECONDS = 6.0
RENEW_SECONDS = 2.0


def gone_failure() -> GenerationFailed:
    """Return what a reader is told of a generation that is kept no more."""
    message = "the generation is kept no more; send the request again"
    return GenerationFailed(ErrorCode.STREAM_BROKEN, message, "reply", retryable=True)


class RetentionUnavailableError(Exception):
    """The store can't be reached now; the message says why."""


class RetentionFullError(Exception):
    """The store holds as many generations as it may, and all of them still run."""


class RetentionLimits(Struct, frozen=True, kw_only=True):
    """How much is kept, and for how long.

    Attributes:
        seconds: how long a generation is kept after its end.
        max_count: generations that are kept at once; one that has ended makes room for a new one, the oldest first.
        max_total_bytes: of all events together, in the memory of one process; Redis has a limit of its own.
    """

    seconds: float
    max_count: int
    max_total_bytes: int


class IdempotencyClaim(Struct, frozen=True, kw_only=True):
    """What a client says about its call, so that it can be sent twice and run once.

    Attributes:
        key: unique, with whose it is.
        sha256: of the request in its canonical form.
    """

    key: str
    sha256: str


class RetainedHead(Struct, frozen=True, kw_only=True):
    """What is kept of a generation beside its events. Instants are Unix seconds.

    Attributes:
        request_id: the generation.
        tenant_id: whose it is.
        submission: what was asked for, encoded.
        submitted_at: when.
        deadline: when it is worth nothing any more.
        claim: the idempotency key that it was sent with.
        facts: what its owner knows of it, encoded; empty until its task may be on its way.
        is_cancelled: somebody wants it cancelled.
        count: how many of its events are in the store.
    """

    request_id: str
    tenant_id: str
    submission: bytes
    submitted_at: float
    deadline: float
    claim: IdempotencyClaim | None = None
    facts: bytes = b""
    is_cancelled: bool = False
    count: int = 0


class Opened(Struct, frozen=True, kw_only=True):
    """What came of opening a generation.

    Attributes:
        request_id: the generation that holds the key; ours, if we opened it.
        sha256: of the request that it was opened with.
        log: where its events are written, if we opened it.
    """

    request_id: str
    sha256: str = ""
    log: EventLog | None = None


class Orphan(Struct, frozen=True, kw_only=True):
    """A generation that is ours now, since its owner is gone."""

    head: RetainedHead
    log: EventLog


class RetentionOwner(Protocol):
    """The process, as its store sees it. Every method is called on the event loop and must not block."""

    def cancel_owned(self, request_id: str) -> None:
        """Cancel a generation, because somebody asked for it elsewhere."""
        ...

    def lose_owned(self, request_id: str) -> None:
        """Learn that another process has claimed a generation: nothing more of it is to be written here."""
        ...


class RetentionStore(Protocol):
    """What a process keeps retained generations in."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes see it, and it outlives this one."""
        ...

    async def start(self, owner: RetentionOwner) -> None:
        """Begin to renew leases; return at once."""
        ...

    async def check(self) -> None:
        """Raise RetentionUnavailableError, with the reason, unless a generation could be opened now."""
        ...

    async def open(self, head: RetainedHead) -> Opened:
        """Keep a generation from now on, and own it, unless its key is held by another that is still kept.

        Of any number of calls with one key, in any processes at the same time, exactly one opens its generation. What
        has ended makes room for it only when something is known of it (`write`): one that is refused in the end takes
        the place of nothing.

        Raises:
            RetentionUnavailableError: it is not known whether it is kept.
            RetentionFullError: there is no room.
        """
        ...

    def write(
        self,
        log: EventLog,
        events: Sequence[Event] = (),
        *,
        facts: bytes | None = None,
        frees_key: bool = False,
        forgets: bool = False,
    ) -> None:
        """Append events to a generation that we own, or say what is known of it.

        Never blocks. Readers get events once they are safe; or, while the store is away, at once, and the store gets
        them when it is back. A terminal event ends the generation: it is kept for a while, and has no owner any more.

        Args:
            log: of `open` or of `claim_orphan`.
            events: the next ones.
            facts: what is known of it now: it is accepted, and the oldest that has ended makes room for it.
            frees_key: with a terminal event: its idempotency key may be used again.
            forgets: with a terminal event: who reads it now is told, and it is kept no longer, nor is its key.
        """
        ...

    async def find(self, request_id: str) -> RetainedHead | None:
        """Return a generation that is kept, or None.

        Raises:
            RetentionUnavailableError: the store can't be reached.
        """
        ...

    async def follow(self, head: RetainedHead) -> EventLog:
        """Return the events of a generation, from the first on and as they come. Call `unfollow` when done.

        Raises:
            RetentionUnavailableError: the store can't be reached.
        """
        ...

    def unfollow(self, log: EventLog) -> None:
        """Say that one reader of a log needs it no more."""
        ...

    async def request_cancel(self, request_id: str) -> bool:
        """Have a generation cancelled by its owner, or by whoever claims it; tell whether it still runs.

        Raises:
            RetentionUnavailableError: the store can't be reached.
        """
        ...

    async def claim_orphan(self) -> Orphan | None:
        """Become the owner of a generation whose owner is gone; None if there is none. Of several claimers one wins.

        Raises:
            RetentionUnavailableError: the store can't be reached.
        """
        ...

    def disown(self, log: EventLog) -> None:
        """Renew the lease of a generation no more: when it has run out, whoever can go on with it may claim it.

        Args:
            log: of `claim_orphan`; nothing more is to be written to it.
        """
        ...

    async def release(self) -> None:
        """Give up all that we own, so that others may claim it at once; what was written before is safe."""
        ...

    async def close(self) -> None:
        """Stop. What we own and did not release is claimed by others when the leases run out."""
        ...

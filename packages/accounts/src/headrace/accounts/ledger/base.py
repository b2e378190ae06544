"""What the ledger holds, and what a store of it must do."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from headrace.schema.events import Usage
from headrace.schema.names import Lane

FINISHED = "finished"
LOST = "lost"
"""The outcome of a generation whose gateway died: its usage is what was last seen of it."""


class UsageRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One generation that is over.

    Attributes:
        request_id: the generation.
        tenant_id: whose it was; empty for a caller without an account.
        key_id: which of the tenant's keys.
        model: the served name that was asked for.
        route: who ran it: `own`, or `provider:NAME`.
        target: the model that ran it there.
        attempts: tries on workers, or calls of providers.
        lane: `online` or `batch`.
        input_tokens: of the prompt, those of the cache included.
        output_tokens: that were sampled.
        cached_tokens: of the prompt, from the cache.
        reasoning_tokens: of the answer, that were reasoning.
        cost_micros: by the prices of that moment, in millionths of the currency.
        queue_ms: until a worker took it; None where nobody knows.
        first_token_ms: from then to the first token; None where there was none, or nobody knows.
        total_ms: from its acceptance to its end.
        outcome: `finished`, an error code, or `lost`.
        started_at: when it was accepted, Unix milliseconds; it belongs to the day and month of this instant.
        ended_at: when it ended, Unix milliseconds.
    """

    request_id: str
    tenant_id: str = ""
    key_id: str = ""
    model: str
    route: str = ""
    target: str = ""
    attempts: int = 1
    lane: Lane = "online"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micros: int = 0
    queue_ms: int | None = None
    first_token_ms: int | None = None
    total_ms: int = 0
    outcome: str
    started_at: int
    ended_at: int

    @property
    def usage(self) -> Usage:
        """The tokens."""
        return Usage(self.input_tokens, self.output_tokens, self.cached_tokens, self.reasoning_tokens)


class UsageStore(Protocol):
    """Where rows last."""

    async def insert(self, rows: Sequence[UsageRow]) -> None:
        """Write rows, all of them or none.

        Of two rows of one request the first stays; only one that says `lost` gives way to one that does not.

        Raises:
            HeadraceError: `accounts_unavailable`: the database does not answer.
        """
        ...


class MemoryUsageStore:
    """A `UsageStore` in this process, for tests and trials.

    Attributes:
        rows: by request.
    """

    def __init__(self) -> None:
        self.rows: dict[str, UsageRow] = {}

    async def insert(self, rows: Sequence[UsageRow]) -> None:
        """Keep rows; see `UsageStore`."""
        for row in rows:
            known = self.rows.get(row.request_id)
            if known is None or (known.outcome == LOST and row.outcome != LOST):
                self.rows[row.request_id] = row

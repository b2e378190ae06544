"""What budgets have used, as far as the ledger knows it: the database, and what waits to be written there."""

from collections.abc import Sequence

from headrace.accounts.ledger.base import UsageRow
from headrace.accounts.ledger.ledger import UsageLedger
from headrace.accounts.quota.base import Amount, Counter
from headrace.accounts.quota.periods import bounds_of
from headrace.accounts.quota.quota import Baseline


class LedgerBaseline:
    """A `Baseline`.

    Args:
        written: knows what is in the database.
        ledger: knows what waits. What is just being written may count twice, and never not at all.
    """

    def __init__(self, written: Baseline, ledger: UsageLedger) -> None:
        self._written = written
        self._ledger = ledger

    async def used(self, counters: Sequence[Counter]) -> list[Amount]:
        """Return what each counter's subject has used in its period; see `Baseline`."""
        rows = self._ledger.waiting_rows()
        return [
            _add(amount, counter, rows)
            for amount, counter in zip(await self._written.used(counters), counters, strict=True)
        ]


def _add(amount: Amount, counter: Counter, rows: Sequence[UsageRow]) -> Amount:
    begin, end = (bound * 1000 for bound in bounds_of(counter.period))
    mine = [
        row
        for row in rows
        if counter.subject in (f"key:{row.key_id}", f"tenant:{row.tenant_id}") and begin <= row.started_at < end
    ]
    return Amount(
        amount.tokens + sum(row.input_tokens + row.output_tokens for row in mine),
        amount.cost + sum(row.cost_micros for row in mine),
    )

"""Rows in the database of the accounts, and what budgets have used by them."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite

from headrace.accounts.database import Database
from headrace.accounts.ledger.base import LOST, UsageRow
from headrace.accounts.ledger.table import TARGET_LENGTH, usage
from headrace.accounts.quota.base import Amount, Counter
from headrace.accounts.quota.periods import bounds_of

_COLUMNS: Mapping[str, ColumnElement[str]] = {"key": usage.c.key_id, "tenant": usage.c.tenant_id}


class DatabaseUsageStore:
    """A `UsageStore` in the database, and the `Baseline` of budgets.

    Args:
        database: of the accounts; `usage` must be in it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, rows: Sequence[UsageRow]) -> None:
        """Write rows in one transaction; see `UsageStore`."""
        lost = [_values(row) for row in rows if row.outcome == LOST]
        known = [_values(row) for row in rows if row.outcome != LOST]
        insert = sqlite.insert(usage) if self._database.kind == "sqlite" else postgresql.insert(usage)
        replaced = {column.name: insert.excluded[column.name] for column in usage.c if not column.primary_key}
        keep = insert.on_conflict_do_nothing(index_elements=[usage.c.request_id])
        replace = insert.on_conflict_do_update(
            index_elements=[usage.c.request_id], set_=replaced, where=usage.c.outcome == LOST
        )
        async with self._database.writing() as connection:
            if known:
                await connection.execute(replace, known)
            if lost:
                await connection.execute(keep, lost)

    async def used(self, counters: Sequence[Counter]) -> list[Amount]:
        """Return what each counter's subject has used in its period; see `Baseline`."""
        amounts: list[Amount] = []
        async with self._database.reading() as connection:
            for counter in counters:
                kind, _, subject_id = counter.subject.partition(":")
                begin, end = (round(bound * 1000) for bound in bounds_of(counter.period))
                row = (
                    await connection.execute(
                        select(
                            func.coalesce(func.sum(usage.c.input_tokens + usage.c.output_tokens), 0),
                            func.coalesce(func.sum(usage.c.cost_micros), 0),
                        ).where(_COLUMNS[kind] == subject_id, usage.c.started_at >= begin, usage.c.started_at < end)
                    )
                ).one()
                amounts.append(Amount(int(row[0]), int(row[1])))
        return amounts


def _values(row: UsageRow) -> dict[str, Any]:
    return structs.asdict(row) | {"target": row.target[:TARGET_LENGTH]}

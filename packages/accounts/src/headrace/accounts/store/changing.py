"""One change: its number, its line in the audit log, and the word to the gateways, all in one transaction.

The number is taken first, which locks its row. So changes happen one after the other, what a change has read is still
true when it writes, and their numbers become visible in order: a gateway that has seen a number has seen all below.
"""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.database.tables import audit_entries, change_counter, changes
from headrace.accounts.store.rows import to_instant, to_json, to_milliseconds

KEPT_CHANGES = 1000
"""A gateway that has missed more forgets all that it knows."""


class Change(Struct, frozen=True, kw_only=True):
    """A change that is being made.

    Attributes:
        connection: in its transaction.
        number: of the change.
        at: when.
        actor: who.
    """

    connection: AsyncConnection
    number: int
    at: datetime
    actor: str

    @property
    def at_milliseconds(self) -> int:
        """When, as it is stored."""
        return to_milliseconds(self.at) or 0

    async def note(
        self, action: str, *, tenant_id: str, key_id: str | None, before: object = None, after: object = None
    ) -> None:
        """Write down what was done; call it once, and only if something was."""
        place = {"number": self.number, "at": self.at_milliseconds, "tenant_id": tenant_id, "key_id": key_id}
        await self.connection.execute(insert(changes), [place])
        await self.connection.execute(delete(changes).where(changes.c.number <= self.number - KEPT_CHANGES))
        entry = {
            **place,
            "actor": self.actor,
            "action": action,
            "before": None if before is None else to_json(before),
            "after": None if after is None else to_json(after),
        }
        await self.connection.execute(insert(audit_entries), [entry])


async def begin_change(connection: AsyncConnection, *, actor: str, now: float) -> Change:
    """Take the next number, and wait for whoever makes a change now.

    Args:
        connection: in a transaction for writing.
        actor: who makes the change.
        now: Unix time in seconds.
    """
    statement = update(change_counter).values(value=change_counter.c.value + 1).returning(change_counter.c.value)
    number = (await connection.execute(statement)).scalar_one()
    return Change(connection=connection, number=number, at=to_instant(round(now * 1000)), actor=actor)

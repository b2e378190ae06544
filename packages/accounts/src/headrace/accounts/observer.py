"""What the metering says about itself; who counts it is not its business."""

from typing import Protocol

from headrace.accounts.quota.base import LimitKind
from headrace.schema.events import Usage


class MeteringObserver(Protocol):
    """Gets each fact as it happens, on the event loop."""

    def reservation_refused(self, kind: LimitKind) -> None:
        """A request was refused by a limit."""
        ...

    def generation_settled(self, model: str, usage: Usage) -> None:
        """A generation ended, and its real usage replaced what was reserved."""
        ...

    def quota_store_changed(self, *, is_away: bool) -> None:
        """The shared quotas can't be reached any more, or can be again."""
        ...

    def ledger_backlog_changed(self, rows: int) -> None:
        """So many rows of the ledger wait for the database."""
        ...

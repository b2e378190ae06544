"""What the gateway and the metering need of accounts: who a key belongs to, and what it may use."""

from typing import Protocol

from headrace.accounts.limits import CallerLimits
from headrace.schema.caller import Caller


class CallerDirectory(Protocol):
    """Knows every key."""

    async def find(self, key: str) -> Caller | None:
        """Return whose key this is; None if it is nobody's, expired or revoked.

        It answers from memory where it can, and what was revoked is unknown within a second on every replica. The
        comparison takes the same time for every wrong key.

        Raises:
            HeadraceError: the database does not answer, and the key is not known by heart.
        """
        ...


class LimitsDirectory(Protocol):
    """Knows the limits of every caller."""

    async def limits_of(self, caller: Caller) -> CallerLimits:
        """Return what a caller may use; no limits for one without a key of a tenant.

        It answers from memory for a caller that `find` has just returned, and like `find` otherwise.

        Raises:
            HeadraceError: the database does not answer, and the key is not known by heart.
        """
        ...

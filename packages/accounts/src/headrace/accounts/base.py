"""What the gateway needs of accounts: who a key belongs to."""

from typing import Protocol

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

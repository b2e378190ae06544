"""What an object store must do. One test suite holds every implementation to it."""

from typing import Protocol


class ObjectStoreError(Exception):
    """The store can't be reached, or refused; the same call may succeed later. The message holds no secret."""


class ObjectMissingError(ObjectStoreError):
    """There is no object of this name."""


class ObjectStore(Protocol):
    """Keeps bytes under names. Nothing here blocks the event loop.

    A name is a path of letters, digits, `-`, `_`, `.` and `/`; it never leads out of the store. An object is either
    there as a whole or not at all.
    """

    async def put(self, name: str, data: bytes) -> None:
        """Keep an object; one of the same name is replaced.

        Raises:
            ObjectStoreError: it was not kept.
        """
        ...

    async def get(self, name: str, *, most_bytes: int) -> bytes:
        """Return an object, and no more than one byte beyond `most_bytes` of it.

        Raises:
            ObjectMissingError: there is none.
            ObjectStoreError: it can't be read now.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove an object, if there is one.

        Raises:
            ObjectStoreError: it can't be removed now.
        """
        ...

    async def sweep(self, *, older_than_seconds: float) -> int:
        """Remove what was put longer ago than this, and return how much that was.

        Raises:
            ObjectStoreError: the store can't be listed now.
        """
        ...

    async def expire(self, *, days: int) -> bool:
        """Ask the store to remove by itself what is older than so many days, should nobody sweep any more.

        Returns:
            False where the store has no such rule.

        Raises:
            ObjectStoreError: it does not take the rule.
        """
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...

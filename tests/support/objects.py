"""An object store of the test's own, which can be slow, away, or forgetful."""

import asyncio

from headrace.transport.objects import ObjectMissingError, ObjectStoreError
from tests.support.recorders import Recorder


class MemoryObjects(Recorder):
    """An `ObjectStore` in a dict.

    Attributes:
        kept: what lies there.
        opened: puts and gets wait for it.
        failures: so many calls fail before one succeeds.
        calls: puts and gets, failed ones among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, bytes] = {}
        self.opened = asyncio.Event()
        self.opened.set()
        self.failures = 0
        self.calls = 0

    async def _enter(self) -> None:
        self.calls += 1
        self.changed()
        await self.opened.wait()
        if self.failures:
            self.failures -= 1
            raise ObjectStoreError("the object store refused: SlowDown")

    async def put(self, name: str, data: bytes) -> None:
        await self._enter()
        self.kept[name] = data

    async def get(self, name: str, *, most_bytes: int) -> bytes:
        await self._enter()
        if name not in self.kept:
            raise ObjectMissingError("there is no such object")
        return self.kept[name][: most_bytes + 1]

    async def delete(self, name: str) -> None:
        self.kept.pop(name, None)
        self.changed()

    async def sweep(self, *, older_than_seconds: float) -> int:
        return 0

    async def expire(self, *, days: int) -> bool:
        return False

    async def close(self) -> None:
        pass

"""The scripts, and how they are run: by their hash, and by their text where Redis has forgotten it."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import NoScriptError, RedisError

from headrace.accounts.quota.base import QuotaUnavailableError
from headrace.accounts.quota.redis.lua import PRELUDE, SCRIPTS
from headrace.accounts.quota.redis.peeking import PEEK


class Scripts:
    """Runs the scripts of quotas.

    Args:
        client: where; it is closed with us.
        connections: as many as the client may have.
    """

    def __init__(self, client: "redis.asyncio.Redis", *, connections: int) -> None:
        self._client: Any = client
        self._free = asyncio.Semaphore(connections)
        self._texts = {name: f"{PRELUDE}{text}" for name, text in SCRIPTS.items()} | {"peek": PEEK}
        # Redis knows a script by this hash; nothing is kept secret with it.
        self._hashes = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._texts.items()
        }

    async def run(self, name: str, prefix: str, arguments: dict[str, Any]) -> bytes | int:
        """Run a script and return its answer.

        Raises:
            QuotaUnavailableError: Redis does not answer.
        """
        return (await self.run_all(name, [(prefix, arguments)]))[0]

    async def run_all(self, name: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[bytes | int]:
        """Run a script for several tenants in one round trip, and return the answers.

        Raises:
            QuotaUnavailableError: Redis does not answer.
        """
        packed = [(prefix, msgspec.msgpack.encode(arguments)) for prefix, arguments in calls]
        try:
            async with self._free:
                return await self._run_packed(name, packed)
        except (RedisError, OSError) as error:
            raise QuotaUnavailableError(f"Redis does not answer: {error or type(error).__name__}") from None

    async def _run_packed(self, name: str, calls: Sequence[tuple[str, bytes]]) -> list[bytes | int]:
        try:
            return await self._send("evalsha", self._hashes[name], calls)
        except NoScriptError:
            # None ran, since Redis knows a script for all of them or for none. Were its scripts flushed between two of
            # them: what is run in company may be run twice.
            return await self._send("eval", self._texts[name], calls)

    async def _send(self, command: str, script: str, calls: Sequence[tuple[str, bytes]]) -> list[bytes | int]:
        if len(calls) == 1:
            prefix, packed = calls[0]
            return [await getattr(self._client, command)(script, 1, prefix, packed)]
        pipeline = self._client.pipeline(transaction=False)
        for prefix, packed in calls:
            getattr(pipeline, command)(script, 1, prefix, packed)
        return await pipeline.execute()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

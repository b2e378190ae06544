"""Large values by reference: put once, checked when they are read, removed after use.

What is read is what was put, or it is an error: size and digest travel with the reference.
"""

import asyncio
import hashlib

import structlog

from headrace.schema.payload import PayloadRef
from headrace.transport.objects.base import ObjectMissingError, ObjectStore, ObjectStoreError

PAUSES_SECONDS = (0.1, 0.5)

_log = structlog.get_logger("headrace.objects")


class PayloadError(Exception):
    """A payload can't be had: the message says why, in words for a client."""


class PayloadStore:
    """Puts payloads into an object store, and gets them out again.

    Args:
        objects: where they lie.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def save(self, name: str, data: bytes) -> PayloadRef:
        """Keep a payload.

        Raises:
            PayloadError: the store did not take it.
        """
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        for pause in (*PAUSES_SECONDS, None):
            try:
                await self._objects.put(name, data)
                break
            except ObjectStoreError as error:
                if pause is None:
                    raise PayloadError(f"a large payload can't be kept: {error}") from None
                await asyncio.sleep(pause)
        return PayloadRef(key=name, size_bytes=len(data), sha256=digest)

    async def load(self, ref: PayloadRef) -> bytes:
        """Return a payload as it was saved.

        Raises:
            PayloadError: it is gone, or is not what was saved.
        """
        data = await self._read(ref)
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        if len(data) != ref.size_bytes or digest != ref.sha256:
            raise PayloadError("a large payload was altered in the object store; send it again")
        return data

    async def _read(self, ref: PayloadRef) -> bytes:
        for pause in (*PAUSES_SECONDS, None):
            try:
                return await self._objects.get(ref.key, most_bytes=ref.size_bytes)
            except ObjectMissingError:
                raise PayloadError("a large payload is gone from the object store; send it again") from None
            except ObjectStoreError as error:
                if pause is None:
                    raise PayloadError(f"a large payload can't be read: {error}") from None
                await asyncio.sleep(pause)
        raise AssertionError

    async def discard(self, ref: PayloadRef) -> None:
        """Remove a payload. What can't be removed now is left to the sweep."""
        try:
            await self._objects.delete(ref.key)
        except ObjectStoreError as error:
            _log.warning("payload not removed", reason=str(error))

    async def sweep(self, *, older_than_seconds: float) -> None:
        """Remove what was left over, by a process that died."""
        try:
            removed = await self._objects.sweep(older_than_seconds=older_than_seconds)
        except ObjectStoreError as error:
            _log.warning("payloads not swept", reason=str(error))
            return
        if removed:
            _log.info("payloads swept", removed=removed)

    async def expire(self, *, days: int) -> None:
        """Have the store itself remove what is left over, where it can, and say in the log what came of it."""
        try:
            has_rule = await self._objects.expire(days=days)
        except ObjectStoreError as error:
            _log.warning("payload rule refused", reason=str(error))
            return
        if has_rule:
            _log.info("payload rule set", days=days)

    async def close(self) -> None:
        """Let go of the store."""
        await self._objects.close()

"""A folder as the object store: for one machine, or for a folder that all machines mount."""

import asyncio
import contextlib
import os
import re
import secrets
import time
from pathlib import Path

from headrace.transport.objects.base import ObjectMissingError, ObjectStoreError

_NAME = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9._\-]*(/[A-Za-z0-9_\-][A-Za-z0-9._\-]*)*")
_HALF_WRITTEN = ".part-"


class FileObjectStore:
    """`ObjectStore` in a folder.

    Args:
        folder: where; it is made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, data: bytes) -> None:
        """Keep an object: it is written beside its place and then moved there."""
        await asyncio.to_thread(self._put, self._path_of(name), data)

    def _put(self, path: Path, data: bytes) -> None:
        part = path.with_name(f"{_HALF_WRITTEN}{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Prompts are nobody else's business.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a mode
                file.write(data)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise ObjectStoreError(f"the folder of objects can't be written: {error.strerror}") from None

    async def get(self, name: str, *, most_bytes: int) -> bytes:
        """Return an object."""
        return await asyncio.to_thread(self._get, self._path_of(name), most_bytes)

    def _get(self, path: Path, most_bytes: int) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(most_bytes + 1)
        except FileNotFoundError:
            raise ObjectMissingError("there is no such object in the folder of objects") from None
        except OSError as error:
            raise ObjectStoreError(f"the folder of objects can't be read: {error.strerror}") from None

    async def delete(self, name: str) -> None:
        """Remove an object."""
        await asyncio.to_thread(self._delete, self._path_of(name))

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ObjectStoreError(f"an object can't be removed: {error.strerror}") from None

    async def sweep(self, *, older_than_seconds: float) -> int:
        """Remove what is old, half-written files as well."""
        return await asyncio.to_thread(self._sweep, time.time() - older_than_seconds)

    def _sweep(self, before: float) -> int:
        removed = 0
        for path in [path for path in self._folder.rglob("*") if path.is_file()]:
            try:
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ObjectStoreError(f"an object can't be removed: {error.strerror}") from None
        return removed

    async def expire(self, *, days: int) -> bool:  # noqa: ARG002 - a folder has no such rule
        """A folder removes nothing by itself."""
        return False

    async def close(self) -> None:
        """Nothing to let go of."""

    def _path_of(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ObjectMissingError("this is not the name of an object")
        return self._folder / name

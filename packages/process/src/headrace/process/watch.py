"""Notices that a file has become another one, by looking at it now and then.

It is looked at by what the name stands for now: its inode, its time and its size. So a file that was replaced, as
careful programs do and as Kubernetes does with its links, is noticed like one that was written over.
"""

import asyncio
from pathlib import Path

Identity = tuple[int, int, int]


class WatchedFile:
    """A file, as it was when it was looked at last.

    Args:
        path: which; it may be missing, and come later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _identify(path)

    async def has_changed(self) -> bool:
        """Tell whether it is there, and another one than when it was looked at last."""
        now = await asyncio.to_thread(_identify, self._path)
        before, self._known = self._known, now
        return now is not None and now != before


def _identify(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size

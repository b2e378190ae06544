"""Reads the settings again when their file changes, or when it is asked to. What can't be used changes nothing."""

import asyncio
from collections.abc import Callable

import structlog

from headrace.apps.gateway.live import LiveSettings
from headrace.process.watch import WatchedFile
from headrace.schema.settings import Settings, SettingsError

_log = structlog.get_logger("headrace.gateway")


class SettingsReloader:
    """Reloads, one time after the other.

    Args:
        read: reads the settings as the process did at its start; it may raise SettingsError.
        watched: their file.
        seconds: between two looks at it; 0 for none.
        asked: asks for it whenever it is set.
    """

    def __init__(
        self,
        read: Callable[[], Settings],
        *,
        watched: WatchedFile,
        seconds: float,
        asked: asyncio.Event | None = None,
    ) -> None:
        self._read = read
        self._asked = asked or asyncio.Event()
        self._watched = watched
        self._seconds = seconds
        self._turn = asyncio.Lock()

    async def run(self, live: LiveSettings) -> None:
        """Reload whenever it is time to, until cancelled."""
        while True:
            await self._wait()
            await self.reload(live)

    async def _wait(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._seconds or None):
                    await self._asked.wait()
            except TimeoutError:
                if await self._watched.has_changed():
                    return
            else:
                self._asked.clear()
                await self._watched.has_changed()
                return

    async def reload(self, live: LiveSettings) -> bool:
        """Read the settings and go by them; return whether they could be used."""
        try:
            async with self._turn:
                await live.apply(await asyncio.to_thread(self._read))
        except SettingsError as error:
            _log.error("settings not reloaded", problems=error.problems)
            return False
        except Exception:  # noqa: BLE001 - an edge: a gateway that runs is not ended by what it might have become
            _log.exception("settings not reloaded")
            return False
        return True

"""Reads the settings again when their file changes or a SIGHUP comes. What can't be used changes nothing."""

import asyncio
from collections.abc import Callable

import structlog

from headrace.apps.gateway.live import LiveSettings
from headrace.process.signals import hangups
from headrace.process.watch import WatchedFile
from headrace.schema.settings import Settings, SettingsError

_log = structlog.get_logger("headrace.gateway")


class SettingsReloader:
    """Reloads, one time after the other.

    Args:
        read: reads the settings as the process did at its start; it may raise SettingsError.
        watched: their file.
        seconds: between two looks at it; 0 leaves it to signals.
    """

    def __init__(self, read: Callable[[], Settings], *, watched: WatchedFile, seconds: float) -> None:
        self._read = read
        self._watched = watched
        self._seconds = seconds

    async def run(self, live: LiveSettings) -> None:
        """Reload whenever it is time to, until cancelled."""
        with hangups() as hung_up:
            while True:
                await self._wait(hung_up)
                await self.reload(live)

    async def _wait(self, hung_up: asyncio.Event) -> None:
        while True:
            try:
                async with asyncio.timeout(self._seconds or None):
                    await hung_up.wait()
            except TimeoutError:
                if await self._watched.has_changed():
                    return
            else:
                hung_up.clear()
                await self._watched.has_changed()
                return

    async def reload(self, live: LiveSettings) -> bool:
        """Read the settings and go by them; return whether they could be used."""
        try:
            await live.apply(await asyncio.to_thread(self._read))
        except SettingsError as error:
            _log.error("settings not reloaded", problems=error.problems)
            return False
        return True

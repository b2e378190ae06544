"""Signals as events: the first asks for a drain, the second ends the process at once; a hangup asks for a reload."""

import asyncio
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog

_log = structlog.get_logger("headrace.process")
INTERRUPTED = 130


@contextmanager
def stop_on_signals(announce: Callable[[], None] | None = None) -> Generator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set. A second SIGINT ends the process without a drain.

    Args:
        announce: called with the first signal, to tell the person at the terminal.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        if not stop.is_set():
            _log.info("stop asked for", signal=number.name)
            if announce is not None:
                announce()
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def hangups() -> Generator[asyncio.Event]:
    """Yield an event that each SIGHUP sets; whoever sees it clears it."""
    loop = asyncio.get_running_loop()
    hung_up = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    try:
        yield hung_up
    finally:
        loop.remove_signal_handler(signal.SIGHUP)

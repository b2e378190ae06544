"""How long work tells where it stands, so that a terminal can draw a bar and a log can stay silent.

This room never prints: it states facts to a callback, and the caller decides what a person sees.
"""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Called from the thread that does the work, several times a second while something moves."""

    def __call__(self, step: str, *, done: int | None, total: int | None) -> None:
        """Take one report.

        Args:
            step: What is being done, as a short lower-case phrase; a new phrase starts a new bar.
            done: How much of the step is behind us, or None where nobody can tell.
            total: The same for the whole step, in the same unit; the step is over when `done` reaches it.
        """
        ...


def ignore_progress(step: str, *, done: int | None, total: int | None) -> None:
    """Take a report and do nothing with it."""
    del step, done, total

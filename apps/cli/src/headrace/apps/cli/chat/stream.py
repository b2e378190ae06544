"""Reads the native event stream: lines in, events out. What it does not know it leaves out, as a client should."""

from collections.abc import Generator, Iterable

import msgspec
from msgspec import Struct


class FailureDetail(Struct, frozen=True):
    """Why a call failed, in the words of the native API."""

    code: str = ""
    message: str = ""
    retryable: bool = False


class StreamEvent(Struct, frozen=True):
    """One event of any kind: the fields that a chat needs, empty where the kind has none."""

    type: str
    text: str = ""
    finish_reason: str = ""
    error: FailureDetail | None = None

    @property
    def is_terminal(self) -> bool:
        """Tell whether the stream ends with it."""
        return self.type in ("generation_finished", "generation_failed")


class _Frame(Struct):
    events: tuple[StreamEvent, ...] = ()


_decode_frame = msgspec.json.Decoder(_Frame).decode


def read_events(lines: Iterable[str]) -> Generator[StreamEvent]:
    """Yield the events of a stream of server-sent events.

    Args:
        lines: without their line ends.

    Raises:
        ValueError: what a frame holds is not what the native API sends.
    """
    data: list[str] = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")  # a comment has no name
            if name == "data":
                data.append(value.removeprefix(" "))
        elif data:
            yield from _decode_frame("\n".join(data)).events
            data.clear()

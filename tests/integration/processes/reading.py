"""A client of the native API that reads in the background, and goes on elsewhere from where it stood."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec

from tests.support.processes import WAIT_SECONDS


class Reader(threading.Thread):
    """Reads a native stream, from wherever it is told to.

    Attributes:
        request_id: the generation, once it has begun.
        place: the id of the last frame.
        events: all that came.
        status: of the answer.
        begun: set with the headers.
        enough: set in the middle of a long answer.
    """

    def __init__(self, method: str, url: str, **options: Any) -> None:
        super().__init__(daemon=True)
        self.request_id = ""
        self.place = ""
        self.events: list[dict[str, Any]] = []
        self.status = 0
        self.begun, self.enough = threading.Event(), threading.Event()
        self._call = (method, url, options)
        self.start()

    def run(self) -> None:
        """Read to the end, or until the connection breaks."""
        method, url, options = self._call
        with (
            suppress(httpx.TransportError),
            httpx.stream(method, url, timeout=WAIT_SECONDS, **options) as response,
        ):
            self.status = response.status_code
            self.request_id = response.headers.get("headrace-request-id", "")
            self.begun.set()
            for frame in _frames(response.iter_text()):
                # A frame is whole or it is not there: what a client does with it happens at once.
                self.events += msgspec.json.decode(frame["data"])["events"]
                self.place = frame["id"]
                if len(self.text.split()) > 20:
                    self.enough.set()

    @property
    def text(self) -> str:
        """What the answer says so far."""
        return text_of(self.events)

    def finish(self) -> "Reader":
        """Wait for the end, and return itself."""
        self.join(WAIT_SECONDS)
        assert not self.is_alive()
        return self


def text_of(events: list[dict[str, Any]]) -> str:
    """Return what events of one sequence say."""
    return "".join(event["text"] for event in events if event["type"] == "sequence_delta")


def _frames(pieces: Iterator[str]) -> Iterator[dict[str, str]]:
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n\n")
        for frame in whole:
            if not frame.startswith(":"):
                yield dict(line.split(": ", 1) for line in frame.split("\n"))


def go_on(address: str, reader: Reader, **headers: str) -> Reader:
    """Take up at another gateway what a reader has of a retained generation."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": reader.place, **headers}
    return Reader("GET", f"{address}/v1/generations/{reader.request_id}", headers=headers)

"""Talks to supervisord over its socket, and reads its log: what runs, what ended, and what was started again."""

import http.client
import re
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

TIMEOUT_SECONDS = 5.0
RUNNING_STATES = frozenset({"STARTING", "RUNNING", "STOPPING"})
FAILED_STATES = frozenset({"BACKOFF", "EXITED", "FATAL"})


class SupervisorError(RuntimeError):
    """supervisord does not answer, or refuses."""


class ProcessState(Struct, frozen=True):
    """What supervisord says of one process.

    Attributes:
        name: as in the plan.
        state: one of supervisord's words, upper case.
        pid: 0 when it does not run.
        reason: why it does not run.
    """

    name: str
    state: str
    pid: int
    reason: str = ""


class Exited(Struct, frozen=True):
    """A process ended without being told to."""

    name: str
    reason: str


class Started(Struct, frozen=True):
    """A process was started."""

    name: str
    pid: int


class GaveUp(Struct, frozen=True):
    """A process ended so often that it is not started again."""

    name: str


SupervisorFact = Exited | Started | GaveUp

_STARTED = re.compile(r" spawned: '(\S+)' with pid (\d+)")
_EXITED = re.compile(r" exited: (\S+) \((.+); (?:not )?expected\)")
_GAVE_UP = re.compile(r" gave up: (\S+) ")


def parse_supervisor_log(line: str) -> SupervisorFact | None:
    """Read one line of supervisord's log; None when it says nothing of a process."""
    if found := _STARTED.search(line):
        return Started(found[1], int(found[2]))
    if found := _EXITED.search(line):
        return Exited(found[1], found[2].replace("exit status", "code").removeprefix("terminated by "))
    if found := _GAVE_UP.search(line):
        return GaveUp(found[1])
    return None


class SupervisorLog:
    """Follows supervisord's log from where it was last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_facts(self) -> list[SupervisorFact]:
        """Return what happened since the last call."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                news = log.read()
        except FileNotFoundError:
            return []
        whole = news[: news.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.decode(errors="replace").splitlines()
        return [fact for line in lines if (fact := parse_supervisor_log(line)) is not None]


class SupervisorClient:
    """Asks supervisord, one call at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_up(self) -> bool:
        """Tell whether it answers."""
        try:
            self._call("getState")
        except SupervisorError:
            return False
        return True

    def start_group(self, name: str) -> None:
        """Start the processes of a group, without waiting for them."""
        self._call("startProcessGroup", name, False)

    def states(self) -> dict[str, ProcessState]:
        """Return every process by name."""
        answer = cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        return {
            info["name"]: ProcessState(info["name"], info["statename"], info["pid"], info["spawnerr"])
            for info in answer
        }

    def shut_down(self) -> None:
        """Stop everything in order, then supervisord itself; returns at once."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object) -> object:
        # A proxy for each call: a connection that supervisord closed in between must not matter.
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(self._path))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise SupervisorError(f"supervisord: {method}: {error}") from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        del host
        return _UnixConnection(self._path)

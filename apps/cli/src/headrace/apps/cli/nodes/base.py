"""What a process of a node is: a value that any supervisor can start.

Every command is tied to its parent where the system can do it (`setpriv --pdeathsig`): a parent that is killed, and so
can't clean up, takes its nodes with it. The tie is to the THREAD that starts the process: start nodes from one that
lives as long as they should.
"""

import functools
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

from msgspec import Struct

from headrace.apps.cli.nodes.probes import Probe

PORTS = range(20_000, 32_000)
MANY_TRIES = 100


class NodeFile(Struct, frozen=True):
    """A file that must be there before a process starts."""

    path: Path
    text: str
    mode: int = 0o600


class NodeProcess(Struct, frozen=True, kw_only=True):
    """One process: what to run, where, and how to tell that it is ready.

    Attributes:
        name: what people call it, and the stem of its log file.
        command: the program and its arguments. The pid that it is started with is the pid of the program itself.
        environment: what to add to the environment that it inherits.
        folder: its working folder.
        files: what to write first.
        probe: how it answers when it is ready.
        stop_seconds: how long it may take to stop after `stop_signal`.
        stop_signal: what asks it to stop.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    probe: Probe
    environment: dict[str, str] = {}
    files: tuple[NodeFile, ...] = ()
    stop_seconds: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM


@functools.cache
def tether() -> tuple[str, ...]:
    """Return the words before a command that end it with its parent; none where the system has no such thing."""
    program = shutil.which("setpriv")
    if program is None:
        return ()
    # BusyBox has a setpriv too, without the option.
    answer = subprocess.run([program, "--help"], capture_output=True, text=True, check=False, timeout=10)
    return (program, "--pdeathsig", "TERM", "--") if "--pdeathsig" in answer.stdout + answer.stderr else ()


def prepare(process: NodeProcess) -> None:
    """Write the files of a process and make its folders."""
    process.folder.mkdir(parents=True, exist_ok=True)
    for file in process.files:
        write_file(file)


def write_file(file: NodeFile) -> None:
    """Write one file so that nobody else ever sees it with wider rights than it shall have."""
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.unlink(missing_ok=True)  # an older one may be read-only
    file.path.touch(mode=0o600)
    file.path.write_text(file.text, encoding="utf-8")
    file.path.chmod(file.mode)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free now.

    Nothing holds them, so they are not of those that the system gives to outgoing connections: a node that is started
    again finds its port as free as before.
    """
    with ExitStack() as stack:
        return [stack.enter_context(_open_free()).getsockname()[1] for _ in range(count)]


def _open_free() -> socket.socket:
    for _ in range(MANY_TRIES):
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", secrets.choice(PORTS)))
    return socket.create_server(("127.0.0.1", 0))

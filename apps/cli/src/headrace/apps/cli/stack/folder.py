"""The stack's folder: one stack at a time, and a clean start whatever the last one left behind.

Nothing in it has to last: a task in the private broker is worth nothing without the gateway that waits for its answer.
"""

import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.apps.cli.nodes import wait_until
from headrace.apps.cli.nodes.probes import LOOPBACK
from headrace.apps.cli.stack.plan import StackPlan
from headrace.apps.cli.stack.supervisor_client import SupervisorClient, SupervisorError
from headrace.apps.cli.stack.supervisor_config import socket_file

STALE_STOP_SECONDS = 60.0
STALE_PORT_SECONDS = 15.0


class StackError(RuntimeError):
    """The stack can't run; the message says why and what to do."""


@contextmanager
def claim_folder(folder: Path, *, say: Callable[[str], None]) -> Generator[None]:
    """Hold the folder for this process, emptied of what an earlier stack left.

    Raises:
        StackError: another stack holds it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise StackError(
                f"a stack runs in {folder} already (pid {holder}). Stop it with Ctrl-C, "
                "or set HEADRACE_STORAGE_FOLDER to another folder and give another --port."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        _clear_away(folder, say)
        yield
    finally:
        os.close(descriptor)


def _clear_away(folder: Path, say: Callable[[str], None]) -> None:
    path = socket_file(folder)
    client = SupervisorClient(path)
    # Its process counts, not its socket: it takes the socket away last of all, and must not take ours.
    if client.is_up() or _supervisord_runs(folder):
        say("An earlier stack is still stopping: waiting for it.")
        with suppress(SupervisorError):  # it refuses when it is on its way already
            client.shut_down()
        if not wait_until(lambda: not client.is_up() and not _supervisord_runs(folder), seconds=STALE_STOP_SECONDS):
            raise StackError(
                f"the supervisord of an earlier stack does not stop; its pid is in {folder}/supervisord.pid"
            )
    path.unlink(missing_ok=True)
    for leftover in ("nodes", "logs"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    (folder / "logs").mkdir()


def _supervisord_runs(folder: Path) -> bool:
    """Tell whether the supervisord that wrote its pid here still runs."""
    try:
        pid = int((folder / "supervisord.pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    command = Path(f"/proc/{pid}/cmdline")
    # Where there is no /proc the pid alone has to do.
    return not command.exists() or b"supervisord" in command.read_bytes()


def require_free_ports(plan: StackPlan) -> None:
    """Make sure that every port of the plan can be had.

    Raises:
        StackError: naming the ones that can't, and a command with other ports.
    """
    names = plan.ports.named()
    wanted = [port for port in names if plan.management_url or port != plan.ports.management]
    pid_file = plan.folder / "supervisord.pid"
    # What a killed stack left running goes away by itself within seconds.
    patience = STALE_PORT_SECONDS if pid_file.exists() else 0.0
    pid_file.unlink(missing_ok=True)
    wait_until(lambda: all(map(_is_free, wanted)), seconds=patience)
    if taken := [port for port in wanted if not _is_free(port)]:
        list_of_ports = ", ".join(f"{port} ({names[port]})" for port in taken)
        raise StackError(
            f"taken by another program: port {list_of_ports}. "
            f"Stop that program, or type: headrace stack --port {_other_base(plan.ports.gateways[0])}"
        )


def _is_free(port: int) -> bool:
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True


def _other_base(base: int) -> int:
    candidates = (candidate for candidate in range(base + 100, 65000, 100))
    return next((port for port in candidates if all(_is_free(port + offset) for offset in range(15))), base + 100)

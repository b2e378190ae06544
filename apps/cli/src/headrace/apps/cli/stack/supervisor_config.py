"""The plan as supervisord reads it.

Nothing starts by itself: the stack starts the groups, and sees to it that they come up. From then on whatever ends is
started again. Secrets are not in this file: supervisord inherits them and passes them on.
"""

import os
import re
import shlex
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from headrace.apps.cli.nodes import NodeProcess
from headrace.apps.cli.stack.plan import StackPlan

LONGEST_SOCKET_PATH = 100
# With supervisord's pause of one more second after each try, this is some minutes.
START_RETRIES = 20
LOG_FILE_BYTES = 10 * 1024 * 1024


def supervisor_command(plan: StackPlan) -> tuple[str, ...]:
    """Return how to run supervisord over this plan."""
    return (sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config_file(plan.folder)))


def config_file(folder: Path) -> Path:
    """Return where supervisord's file is written."""
    return folder / "supervisord.conf"


def supervisor_log(folder: Path) -> Path:
    """Return where supervisord logs what started and ended."""
    return folder / "logs" / "supervisord.log"


def socket_file(folder: Path) -> Path:
    """Return where supervisord listens: in the folder, or in the system's own where that path would be too long."""
    path = folder / "supervisor.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir()) / f"headrace-{sha256(os.fsencode(folder)).hexdigest()[:16]}.sock"


def render_supervisor_config(plan: StackPlan) -> str:
    """Return supervisord.conf.

    Raises:
        ValueError: a path or a value can't be written in that file.
    """
    sections = [
        _section(
            "supervisord",
            nodaemon="true",
            silent="true",
            logfile=str(supervisor_log(plan.folder)),
            logfile_maxbytes="0",
            pidfile=str(plan.folder / "supervisord.pid"),
            childlogdir=str(plan.logs),
            # As root it would warn that it stays root; it runs as who started it in any case.
            **({"user": "root"} if os.geteuid() == 0 else {}),
        ),
        _section("unix_http_server", file=str(socket_file(plan.folder)), chmod="0600"),
        _section(
            "rpcinterface:supervisor",
            **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    for order, group in enumerate(plan.groups, start=1):
        names = ",".join(process.name for process in group.processes)
        sections.append(_section(f"group:{group.name}", programs=names, priority=str(order * 10)))
        sections += [_program(process, plan) for process in group.processes]
    return "\n".join(sections)


def _program(process: NodeProcess, plan: StackPlan) -> str:
    return _section(
        f"program:{process.name}",
        command=shlex.join(process.command),
        directory=str(process.folder),
        environment=",".join(f"{name}={_quote(value)}" for name, value in process.environment.items()),
        autostart="false",
        autorestart="true",
        startsecs="1",
        startretries=str(START_RETRIES),
        stopsignal="TERM",
        # The first signal is for the process alone, which drains; what is left after that goes with all its children.
        stopasgroup="false",
        killasgroup="true",
        stopwaitsecs=str(int(process.stop_seconds)),
        redirect_stderr="true",
        stdout_logfile=str(plan.log_of(process.name)),
        stdout_logfile_maxbytes=str(LOG_FILE_BYTES),
        stdout_logfile_backups="1",
    )


def _section(title: str, **values: str) -> str:
    lines = [f"{name}={_escape(value)}" for name, value in values.items() if value]
    return "\n".join([f"[{title}]", *lines, ""])


def _escape(value: str) -> str:
    if re.search(r"\n|\s[;#]", value):
        raise ValueError(f"supervisord can't take a line break, or ; or # after a space: {value!r}")
    return value.replace("%", "%%")


def _quote(value: str) -> str:
    for mark in ('"', "'"):
        # supervisord strips both kinds of quotes from both ends.
        if mark not in value and value == value.strip("\"'"):
            return f"{mark}{value}{mark}"
    raise ValueError(f"supervisord can't take both kinds of quotes: {value!r}")

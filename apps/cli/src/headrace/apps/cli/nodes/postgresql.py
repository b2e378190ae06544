"""A private PostgreSQL node, for tests and trials: what is in it ends with its folder.

PostgreSQL refuses to run as root. A process of root becomes the user `postgres`, or `nobody`, for it; the folder must
be one that this user reaches, which a folder of a test run is not.
"""

import os
import pwd
import shutil
import signal
from pathlib import Path

from msgspec import Struct

from headrace.apps.cli.nodes.base import NodeProcess, tether
from headrace.apps.cli.nodes.executables import MissingServiceError, Services
from headrace.apps.cli.nodes.probes import LOOPBACK, PostgresqlProbe

USERS_FOR_ROOT = ("postgres", "nobody")
# One command, so that any supervisor can start it: the shell makes the cluster once, and then becomes the server.
# The password comes in the environment, since a command line can be read by everybody.
SCRIPT = """
set -eu
umask 077
initdb=$1 data=$2; shift 2
if [ ! -s "$data/PG_VERSION" ]; then
    printf '%s' "$HEADRACE_NODE_PASSWORD" > "$data.password"
    "$initdb" -D "$data" -U "$HEADRACE_NODE_USERNAME" --pwfile="$data.password" --auth=scram-sha-256 \\
        --encoding=UTF8 --no-locale --no-sync
    rm "$data.password"
fi
unset HEADRACE_NODE_PASSWORD HEADRACE_NODE_USERNAME
exec "$@" -D "$data"
"""


class PostgresqlNode(Struct, frozen=True, kw_only=True):
    """Where a private PostgreSQL runs, and who may log in.

    Attributes:
        folder: everything of the node is below it; it belongs to `node_user()`.
        port: where it listens.
        username: the one user, made with the folder's contents.
        password: of that user.
        database: one that is always there.
    """

    folder: Path
    port: int
    username: str = "headrace"
    password: str = "headrace"  # noqa: S105 - on loopback, and gone with the node
    database: str = "postgres"

    @property
    def url(self) -> str:
        """The address for `accounts.database_url`, without the credentials."""
        return f"postgresql://{LOOPBACK}:{self.port}/{self.database}"

    def processes(self, services: Services) -> tuple[NodeProcess, ...]:
        """Return what to run.

        Raises:
            MissingServiceError: PostgreSQL is not on this machine.
        """
        initdb, postgres = services.need_postgresql()
        folder = self.folder.resolve()
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            # Only a power cut would tell the difference, and then the folder is worth nothing anyway.
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
        }
        arguments = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
        script = ("/bin/sh", "-c", SCRIPT, "sh", initdb, str(folder / "data"))
        return (
            NodeProcess(
                name="postgresql",
                command=(*_as_node_user(), *script, postgres, *arguments),
                environment={
                    "HEADRACE_NODE_USERNAME": self.username,
                    "HEADRACE_NODE_PASSWORD": self.password,
                },
                folder=folder,
                probe=PostgresqlProbe(self.port),
                # On SIGTERM it would wait for its clients to leave.
                stop_signal=signal.SIGINT,
            ),
        )


def node_user() -> str | None:
    """Return whom a process of root must become; None where it need not.

    Raises:
        MissingServiceError: there is nobody to become.
    """
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in USERS_FOR_ROOT if name in known), None)
    if user is None:
        raise MissingServiceError("PostgreSQL does not run as root, and this machine has no user postgres or nobody")
    return user


def give_to_node_user(folder: Path) -> None:
    """Make a folder that the node may write to."""
    folder.mkdir(parents=True, exist_ok=True)
    if (user := node_user()) is not None:
        shutil.chown(folder, user)


def _as_node_user() -> tuple[str, ...]:
    user = node_user()
    if user is None:
        return tether()
    program = shutil.which("setpriv")
    if program is None:
        raise MissingServiceError("PostgreSQL does not run as root, and setpriv (util-linux) is not here")
    # Together with the tie to the parent, which a change of the user would undo.
    tie = ("--pdeathsig", "TERM") if tether() else ()
    group = str(pwd.getpwnam(user).pw_gid)
    return (program, "--reuid", user, "--regid", group, "--clear-groups", *tie, "--")

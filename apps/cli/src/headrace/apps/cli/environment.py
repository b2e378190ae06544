"""The one place of the command line that reads the environment.

Everything else takes what it needs as a value, so that what a command does can be told from its arguments.
"""

import os
from collections.abc import Mapping

# A node of our own is described in full; what a shell has set for another node must not reach it.
FOREIGN_PREFIXES = ("RABBITMQ_", "ERL_")
FOREIGN_NAMES = frozenset({"NOTIFY_SOCKET", "CONF_ENV_FILE"})


def read_environment() -> dict[str, str]:
    """Return a copy of this process's environment."""
    return dict(os.environ)  # noqa: TID251 - this module is where the environment is read


def without_foreign_nodes(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what would configure a RabbitMQ node or an Erlang machine that is not ours."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(FOREIGN_PREFIXES) and name not in FOREIGN_NAMES
    }

"""Which of the services' programs this machine has, and where.

The real `rabbitmq-server` is wanted, not the wrapper on PATH that some distributions put before it: the wrapper changes
the user and the folders of the node. A real one on PATH comes before those of the system's packages, so that another
version can be chosen.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

RABBITMQ_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
)
ERLANG_FOLDERS = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/lib/erlang/bin", "/usr/local/lib/erlang/bin")
POSTGRESQL_ROOTS = ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt")
REDIS_NAMES = ("redis-server", "valkey-server")
HOW_TO_INSTALL = "just services"
HOW_TO_INSTALL_ALL = "just test-services"


class MissingServiceError(RuntimeError):
    """A program that a node needs is not on this machine."""


class Service(Struct, frozen=True):
    """A program that was found."""

    path: str
    version: str


class Services(Struct, frozen=True):
    """What was found; None where it is missing."""

    rabbitmq: Service | None
    epmd: str | None
    redis: Service | None
    postgresql: tuple[str, str] | None = None

    @property
    def missing(self) -> list[str]:
        """Names of what the stack needs and is not there."""
        found = {"rabbitmq-server": self.rabbitmq, "epmd (Erlang)": self.epmd, "redis-server": self.redis}
        return [name for name, value in found.items() if value is None]

    def need_rabbitmq(self) -> tuple[str, str]:
        """Return the programs of a RabbitMQ node: the server and epmd.

        Raises:
            MissingServiceError: one of them is not there.
        """
        if self.rabbitmq is None or self.epmd is None:
            raise MissingServiceError(f"RabbitMQ is not installed on this machine; type: {HOW_TO_INSTALL}")
        return self.rabbitmq.path, self.epmd

    def need_redis(self) -> str:
        """Return the program of a Redis node.

        Raises:
            MissingServiceError: it is not there.
        """
        if self.redis is None:
            raise MissingServiceError(f"Redis is not installed on this machine; type: {HOW_TO_INSTALL}")
        return self.redis.path

    def need_postgresql(self) -> tuple[str, str]:
        """Return the programs of a PostgreSQL node: initdb and the server.

        Raises:
            MissingServiceError: they are not there.
        """
        if self.postgresql is None:
            raise MissingServiceError(f"PostgreSQL is not installed on this machine; type: {HOW_TO_INSTALL_ALL}")
        return self.postgresql


def find_services(rabbitmq_folders: Sequence[str] = RABBITMQ_FOLDERS) -> Services:
    """Look for RabbitMQ, Erlang's port mapper, Redis (or Valkey) and PostgreSQL.

    Args:
        rabbitmq_folders: where packages put RabbitMQ's real programs.
    """
    rabbitmq = _find_rabbitmq(rabbitmq_folders)
    redis = next((found for name in REDIS_NAMES if (found := shutil.which(name))), None)
    return Services(
        rabbitmq=Service(rabbitmq, _rabbitmq_version(rabbitmq) or "unknown") if rabbitmq else None,
        epmd=_first("epmd", [None, *(Path(folder) for folder in ERLANG_FOLDERS), *_erts_folders()]),
        redis=Service(redis, _redis_version(redis)) if redis else None,
        postgresql=_find_postgresql(),
    )


def _first(name: str, folders: Iterable[Path | None]) -> str | None:
    """Return the first that is there; None among the folders stands for PATH."""
    for folder in folders:
        if found := shutil.which(name if folder is None else str(folder / name)):
            return found
    return None


def _find_rabbitmq(folders: Sequence[str]) -> str | None:
    on_path = _first("rabbitmq-server", [None])
    if on_path is not None and _rabbitmq_version(on_path) is not None:
        return on_path
    return _first("rabbitmq-server", [Path(folder) for folder in folders]) or on_path


def _find_postgresql() -> tuple[str, str] | None:
    """Return initdb and the server, of one version: PATH first, then the newest that a package has put aside."""
    roots = [Path(root) for root in POSTGRESQL_ROOTS]
    aside = [folder for root in roots for folder in [*root.glob("[0-9]*/bin"), *root.glob("postgresql*/bin")]]
    for folder in [None, *sorted(aside, key=_numbers_in, reverse=True)]:
        found = [_first(name, [folder]) for name in ("initdb", "postgres")]
        if found[0] and found[1]:
            return found[0], found[1]
    return None


def _numbers_in(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _erts_folders() -> list[Path]:
    roots = (Path("/usr/lib/erlang"), Path("/usr/lib64/erlang"), Path("/usr/local/lib/erlang"))
    return [folder for root in roots for folder in sorted(root.glob("erts-*/bin"))]


def _rabbitmq_version(program: str) -> str | None:
    """Return the version of a real server, whose plugins lie beside it; None for a wrapper."""
    plugins = Path(program).resolve().parent.parent / "plugins"
    names = [path.name.removesuffix(".ez") for path in plugins.glob("rabbit-*")]
    return names[0].removeprefix("rabbit-") if names else None


def _redis_version(program: str) -> str:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)
    found = re.search(r"v=(\S+)", answer.stdout)
    return found[1] if found else "unknown"

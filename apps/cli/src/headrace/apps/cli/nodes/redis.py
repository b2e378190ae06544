"""A private Redis node: memory only, loopback only. What is in it may be lost; nothing that must last is put there."""

from pathlib import Path

from msgspec import Struct

from headrace.apps.cli.nodes.base import NodeProcess, tether
from headrace.apps.cli.nodes.executables import Services
from headrace.apps.cli.nodes.probes import LOOPBACK, RedisProbe


class RedisNode(Struct, frozen=True, kw_only=True):
    """Where a private Redis runs."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The address for `redis.url`."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def processes(self, services: Services) -> tuple[NodeProcess, ...]:
        """Return what to run.

        Raises:
            MissingServiceError: Redis is not on this machine.
        """
        options = {"port": str(self.port), "bind": LOOPBACK, "save": "", "appendonly": "no", "daemonize": "no"}
        arguments = (word for name, value in options.items() for word in (f"--{name}", value))
        return (
            NodeProcess(
                name="redis",
                command=(*tether(), services.need_redis(), *arguments),
                folder=self.folder.resolve(),
                probe=RedisProbe(self.port),
            ),
        )

"""A private RabbitMQ node, beside whatever the machine runs already.

It shares nothing with a system-wide one: own cookie, own port mapper (epmd), own folders and ports, on loopback. Its
settings file is one that RabbitMQ 3.10 and 4.x both accept: neither ignores a key that it does not know.

The broker runs as the very process that is started: no shell stays in front of it, so its pid can be killed, and no
Erlang machine starts a port mapper of its own that would outlive it.
"""

import secrets
from pathlib import Path

from msgspec import Struct

from headrace.apps.cli.nodes.base import NodeFile, NodeProcess, tether
from headrace.apps.cli.nodes.executables import Services
from headrace.apps.cli.nodes.probes import LOOPBACK, AmqpProbe, EpmdProbe

# localhost, not the machine's name: a name that does not resolve would keep the node from starting.
NODE_NAME = "headrace@localhost"
LOOPBACK_TUPLE = "{127,0,0,1}"
MEMORY_LIMIT = "1GB"
# A delivery that is not acknowledged for this long closes its channel: longer than any generation may run.
CONSUMER_TIMEOUT_MILLISECONDS = 2 * 60 * 60 * 1000


class RabbitMqNode(Struct, frozen=True, kw_only=True):
    """Where a private RabbitMQ runs, and who may log in.

    Attributes:
        folder: everything of the node is below it.
        port: AMQP.
        dist_port: Erlang distribution.
        epmd_port: Erlang's port mapper.
        username: the one user, made at the first start of a new folder.
        password: of that user.
        management_port: the management plugin's HTTP port; None leaves the plugin out, and the node is ready sooner.
    """

    folder: Path
    port: int
    dist_port: int
    epmd_port: int
    username: str = "guest"
    password: str = "guest"  # noqa: S105 - RabbitMQ's own default, on loopback; the stack makes one up
    management_port: int | None = None

    @property
    def url(self) -> str:
        """The address for `broker.url`, without the credentials."""
        return f"amqp://{LOOPBACK}:{self.port}/%2F"

    @property
    def url_with_password(self) -> str:
        """The whole address, for clients that take nothing else."""
        return f"amqp://{self.username}:{self.password}@{LOOPBACK}:{self.port}/%2F"

    def processes(self, services: Services) -> tuple[NodeProcess, ...]:
        """Return what to run, in this order: the broker needs its port mapper.

        Raises:
            MissingServiceError: RabbitMQ or Erlang is not on this machine.
        """
        server, epmd = services.need_rabbitmq()
        folder = self.folder.resolve()
        port_mapper = NodeProcess(
            name="epmd",
            command=(*tether(), epmd, "-address", LOOPBACK, "-port", str(self.epmd_port)),
            folder=folder,
            probe=EpmdProbe(self.epmd_port),
        )
        broker = NodeProcess(
            name="rabbitmq",
            command=(*tether(), server),
            environment=self._environment(folder),
            folder=folder,
            files=self._files(folder),
            probe=AmqpProbe(self.port),
            stop_seconds=20.0,
        )
        return port_mapper, broker

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_FLAGS": f"-start_epmd false -kernel inet_dist_use_interface {LOOPBACK_TUPLE}",
            "ERL_INETRC": str(folder / "inetrc"),
            "ERL_CRASH_DUMP_SECONDS": "0",
            # Makes the script become the Erlang machine instead of waiting for it; -noinput takes the shell away again.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput +B i",
            "RABBITMQ_NODENAME": NODE_NAME,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(folder / "conf.d" / "*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        }

    def _files(self, folder: Path) -> tuple[NodeFile, ...]:
        plugins = "" if self.management_port is None else "rabbitmq_management"
        return (
            NodeFile(folder / ".erlang.cookie", secrets.token_hex(16), mode=0o400),
            # Names come from this file alone: asking a name server for localhost's other addresses can take seconds.
            NodeFile(folder / "inetrc", f'{{lookup, [file]}}.\n{{host, {LOOPBACK_TUPLE}, ["localhost"]}}.\n'),
            NodeFile(folder / "enabled_plugins", f"[{plugins}].\n"),
            NodeFile(folder / "rabbitmq-env.conf", ""),
            NodeFile(folder / "rabbitmq.conf", self.config_text()),
        )

    def config_text(self) -> str:
        """Return rabbitmq.conf."""
        lines = [
            f"listeners.tcp.local = {LOOPBACK}:{self.port}",
            f"default_user = {self.username}",
            f"default_pass = {self.password}",
            f"vm_memory_high_watermark.absolute = {MEMORY_LIMIT}",
            "disk_free_limit.absolute = 50MB",
            f"consumer_timeout = {CONSUMER_TIMEOUT_MILLISECONDS}",
            "log.console = true",
            "log.console.level = info",
            "log.console.use_colors = off",
            "log.file = false",
        ]
        if self.management_port is not None:
            lines += [f"management.tcp.ip = {LOOPBACK}", f"management.tcp.port = {self.management_port}"]
        return "\n".join(lines) + "\n"

"""What a stack consists of, worked out before anything starts: ports, folders, processes.

All of it is values, so that a test can read a stack without running one.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from headrace.apps.cli.environment import without_foreign_nodes
from headrace.apps.cli.nodes import HttpProbe, LogProbe, NodeProcess, RabbitMqNode, RedisNode, Services
from headrace.apps.cli.nodes.base import tether
from headrace.apps.cli.stack.options import StackOptions
from headrace.schema.settings import Settings, SettingsError

GATEWAYS = 2
# What the worker logs when it takes requests.
WORKER_READY = "worker ready"
# A stack on a desk is stopped by somebody who waits for it.
MOST_DRAIN_SECONDS = 10.0
STOP_MARGIN_SECONDS = 8.0
# The broker is on this machine: asking it often costs nobody anything.
MOST_RECONNECT_SECONDS = 1.0
HIGHEST_BASE_PORT = 65535 - 20
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never listened on
BROKER_USER = "headrace"
# Settings of the broker and Redis that the stack replaces, with the files that could hold them.
REPLACED_VARIABLES = frozenset(
    f"HEADRACE_{name}{suffix}"
    for name in ("BROKER_URL", "BROKER_USERNAME", "BROKER_PASSWORD", "REDIS_URL", "REDIS_PASSWORD")
    for suffix in ("", "_FILE")
)


class StackPorts(Struct, frozen=True, kw_only=True):
    """Every port of a stack, all from the first gateway's."""

    gateways: tuple[int, ...]
    broker: int
    broker_dist: int
    epmd: int
    redis: int
    management: int

    def named(self) -> dict[int, str]:
        """Return what each port is for."""
        names = {port: f"gateway {number}" for number, port in enumerate(self.gateways, start=1)}
        return names | {
            self.broker: "RabbitMQ",
            self.broker_dist: "RabbitMQ's distribution",
            self.epmd: "Erlang's port mapper",
            self.redis: "Redis",
            self.management: "RabbitMQ's management",
        }


class ProcessGroup(Struct, frozen=True):
    """Processes that start together and stop together; groups stop in reverse order."""

    name: str
    processes: tuple[NodeProcess, ...]


class StackPlan(Struct, frozen=True, kw_only=True):
    """A stack that could be started."""

    folder: Path
    ports: StackPorts
    groups: tuple[ProcessGroup, ...]
    environment: dict[str, str]
    gateway_urls: tuple[str, ...]
    model: str
    management_url: str | None

    @property
    def processes(self) -> tuple[NodeProcess, ...]:
        """All processes, in the order of their start."""
        return tuple(process for group in self.groups for process in group.processes)

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.folder / "logs"

    @property
    def stop_seconds(self) -> float:
        """The longest that stopping everything may take."""
        return sum(max(process.stop_seconds for process in group.processes) for group in self.groups)

    def log_of(self, name: str) -> Path:
        """Return the log file of a process."""
        return log_file(self.folder, name)


def log_file(folder: Path, name: str) -> Path:
    """Return the log file of a process of the stack in `folder`."""
    return folder / "logs" / f"{name}.log"


def stack_folder(settings: Settings) -> Path:
    """Return where a stack keeps its files."""
    return (Path(settings.storage.folder) / "stack").resolve()


def choose_ports(base: int) -> StackPorts:
    """Return the ports of a stack whose first gateway listens on `base`.

    Raises:
        SettingsError: there is no room above it.
    """
    if not 1 <= base <= HIGHEST_BASE_PORT:
        raise SettingsError([f"gateway.port: a stack needs a port from 1 to {HIGHEST_BASE_PORT}, not {base}"])
    return StackPorts(
        gateways=tuple(base + number for number in range(GATEWAYS)),
        broker=base + 10,
        broker_dist=base + 11,
        epmd=base + 12,
        redis=base + 13,
        management=base + 14,
    )


def plan_stack(
    options: StackOptions, settings: Settings, *, services: Services, password: str, environ: Mapping[str, str]
) -> StackPlan:
    """Work out a stack.

    Args:
        options: the command line.
        settings: with the command line's values in them already.
        services: the programs of this machine.
        password: for the private broker.
        environ: what the processes inherit.

    Raises:
        SettingsError: no such stack can be.
        MissingServiceError: RabbitMQ or Redis is not on this machine.
    """
    if missing := [name for name in settings.worker.served if name not in settings.models]:
        raise SettingsError(
            [f"worker.model: there is no model {name}; there is: {', '.join(settings.models)}" for name in missing]
        )
    folder = stack_folder(settings)
    ports = choose_ports(settings.gateway.port)
    rabbitmq = RabbitMqNode(
        folder=folder / "nodes" / "rabbitmq",
        port=ports.broker,
        dist_port=ports.broker_dist,
        epmd_port=ports.epmd,
        username=BROKER_USER,
        password=password,
        management_port=ports.management if options.management else None,
    )
    redis = RedisNode(folder=folder / "nodes" / "redis", port=ports.redis)
    port_mapper, broker = rabbitmq.processes(services)
    urls = tuple(_gateway_url(settings.gateway.host, port) for port in ports.gateways)
    return StackPlan(
        folder=folder,
        ports=ports,
        groups=(
            ProcessGroup("epmd", (port_mapper,)),
            ProcessGroup("services", (broker, *redis.processes(services))),
            ProcessGroup("workers", _workers(options, settings, folder)),
            ProcessGroup("gateways", _gateways(options, settings, urls, ports)),
        ),
        environment=_environment(settings, rabbitmq, redis, environ) | _share_of_cores(options, settings),
        gateway_urls=urls,
        model=settings.worker.served[0],
        management_url=f"http://127.0.0.1:{ports.management}" if options.management else None,
    )


def _environment(
    settings: Settings, rabbitmq: RabbitMqNode, redis: RedisNode, environ: Mapping[str, str]
) -> dict[str, str]:
    inherited = {
        name: value for name, value in without_foreign_nodes(environ).items() if name not in REPLACED_VARIABLES
    }
    # The ready line of a worker is an info line.
    level = settings.log.level if settings.log.level == "debug" else "info"
    return inherited | {
        "HEADRACE_BROKER_URL": rabbitmq.url,
        "HEADRACE_BROKER_USERNAME": rabbitmq.username,
        "HEADRACE_BROKER_PASSWORD": rabbitmq.password,
        "HEADRACE_BROKER_RECONNECT_SECONDS": f"{min(settings.broker.reconnect_seconds, MOST_RECONNECT_SECONDS):g}",
        "HEADRACE_REDIS_URL": redis.url,
        "HEADRACE_WORKER_MODELS": ",".join(settings.worker.served),
        "HEADRACE_ENGINE_KIND": settings.engine.kind,
        "HEADRACE_LOG_LEVEL": level,
        "HEADRACE_LOG_FORMAT": "json",
        "HEADRACE_GATEWAY_DRAIN_SECONDS": f"{_drain(settings.gateway.drain_seconds):g}",
        "HEADRACE_WORKER_DRAIN_SECONDS": f"{_drain(settings.worker.drain_seconds):g}",
    }


def _share_of_cores(options: StackOptions, settings: Settings) -> dict[str, str]:
    """Without this, every engine on a CPU would take all of its cores."""
    if settings.engine.kind != "vllm" or settings.engine.cpu_threads:
        return {}
    return {"HEADRACE_ENGINE_CPU_THREADS": str(max(1, (os.cpu_count() or 1) // options.workers))}


def _workers(options: StackOptions, settings: Settings, folder: Path) -> tuple[NodeProcess, ...]:
    first_metrics_port = settings.worker.metrics_port
    processes: list[NodeProcess] = []
    for number in range(1, options.workers + 1):
        name = f"worker-{number}"
        metrics_port = first_metrics_port + number - 1 if first_metrics_port else 0
        processes.append(
            NodeProcess(
                name=name,
                command=_app("headrace.apps.worker", options),
                environment={"HEADRACE_WORKER_METRICS_PORT": str(metrics_port)} if metrics_port else {},
                folder=Path.cwd(),
                probe=LogProbe(log_file(folder, name), WORKER_READY),
                stop_seconds=_drain(settings.worker.drain_seconds) + STOP_MARGIN_SECONDS,
            )
        )
    return tuple(processes)


def _gateways(
    options: StackOptions, settings: Settings, urls: tuple[str, ...], ports: StackPorts
) -> tuple[NodeProcess, ...]:
    return tuple(
        NodeProcess(
            name=f"gateway-{number}",
            command=(*_app("headrace.apps.gateway", options), "--port", str(port)),
            folder=Path.cwd(),
            probe=HttpProbe(f"{url}/readyz"),
            stop_seconds=_drain(settings.gateway.drain_seconds) + STOP_MARGIN_SECONDS,
        )
        for number, (url, port) in enumerate(zip(urls, ports.gateways, strict=True), start=1)
    )


def _app(module: str, options: StackOptions) -> tuple[str, ...]:
    config = ("--config", str(Path(options.config).resolve())) if options.config else ()
    return (*tether(), sys.executable, "-m", module, *config)


def _drain(seconds: float) -> float:
    return min(seconds, MOST_DRAIN_SECONDS)


def _gateway_url(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ANY_ADDRESS else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"

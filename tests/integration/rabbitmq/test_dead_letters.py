"""Dead letters on a real broker: kept with their history, looked at without harm, tried again, removed one by one."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, get_args

import msgspec
import pika
import pytest

from headrace.apps.cli.dead import DeadOptions, drop_dead, list_dead, retry_dead, show_dead
from headrace.apps.cli.nodes import RabbitMqNode
from headrace.scheduler.history import GONE, SILENT
from headrace.schema.codec import encode_task
from headrace.schema.dead_letter import DeadLetter, LostAttempt
from headrace.schema.errors import ErrorCode
from headrace.schema.events import GenerationFailed
from headrace.schema.names import task_queue_name
from headrace.schema.settings import BrokerSettings
from headrace.schema.settings.services import QueueType
from headrace.transport.envelope import build_envelope, use_msgpack_envelopes
from headrace.transport.rabbitmq import DeadLetterBox, DeadTaskFound, build_parameters
from headrace.transport.rabbitmq.burial import DeadLetterWriter, DeadTask
from headrace.transport.rabbitmq.topology import QueueKind
from tests.contract.transport.harness import RabbitmqHarness
from tests.integration.path.rig import Rig, read, running_rig, text_of
from tests.support.brokers import settings_of
from tests.support.values import fresh_name, make_task

pytestmark = [pytest.mark.services, pytest.mark.timeout(90)]
SECRET = "nobody else's business"


@pytest.fixture(params=get_args(QueueType))
def broker_settings(request: pytest.FixtureRequest, rabbitmq_node: RabbitMqNode) -> BrokerSettings:
    return settings_of(rabbitmq_node, request.param)


@pytest.fixture
async def rig(broker_settings: BrokerSettings) -> AsyncIterator[Rig]:
    async with running_rig(RabbitmqHarness(broker_settings)) as rig:
        yield rig


@pytest.fixture
def box(broker_settings: BrokerSettings) -> DeadLetterBox:
    return DeadLetterBox(broker_settings)


class Commands:
    """`headrace queue dead`, as a terminal would type it."""

    def __init__(self, settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings.password is not None
        monkeypatch.setenv("HEADRACE_BROKER_URL", settings.url)
        monkeypatch.setenv("HEADRACE_BROKER_USERNAME", settings.username)
        monkeypatch.setenv("HEADRACE_BROKER_PASSWORD", settings.password.reveal())
        monkeypatch.setenv("HEADRACE_BROKER_QUEUE_TYPE", settings.queue_type)

    def options(self, model: str, *, as_json: bool = True) -> DeadOptions:
        return DeadOptions(model=model, as_json=as_json)


@pytest.fixture
def commands(broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(broker_settings, monkeypatch)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON list that a command printed, among the log of the workers of this process."""
    text = capsys.readouterr().out
    found = re.search(r"^\[\]$|^\[$.*^\]$", text, re.MULTILINE | re.DOTALL)
    assert found, text
    return msgspec.json.decode(found[0])


async def wait_for_dead(box: DeadLetterBox, model: str, count: int = 1) -> list[DeadTaskFound]:
    async with asyncio.timeout(15):
        while len(found := await asyncio.to_thread(box.browse, task_queue_name(model))) != count:
            pass
    return found


async def kill_three_workers(rig: Rig) -> tuple[str, list[str]]:
    """Return the request that did it, and the workers that it killed."""
    killer = await rig.submit(SECRET, fault="dead", fault_after_tokens=3)
    workers = [await rig.start_worker()]
    await workers[0].wait_ended()
    for _ in range(2):
        workers.append(await rig.start_worker())
        await workers[-1].wait_ended()
    await rig.start_worker()
    failure = (await read(killer))[-1]
    assert isinstance(failure, GenerationFailed)
    assert failure.code == ErrorCode.WORKER_LOST
    return killer.request_id, [worker.worker_id for worker in workers]


async def test_a_request_that_was_given_up_is_kept_with_each_of_its_attempts(rig: Rig, box: DeadLetterBox) -> None:
    request_id, workers = await kill_three_workers(rig)
    (found,) = await wait_for_dead(box, rig.model)
    assert found.id == request_id
    assert "3 workers were lost" in found.letter.reason
    assert [(lost.attempt, lost.worker_id) for lost in found.letter.attempts] == list(enumerate(workers, 1))
    # A broker that is slow to say that nobody is there is not waited for.
    assert {lost.how for lost in found.letter.attempts} <= {GONE, SILENT}
    times = [lost.granted_at for lost in found.letter.attempts]
    assert times == sorted(times)
    assert 0 < times[0] <= found.letter.died_at
    assert found.task is not None


async def test_a_task_that_can_not_be_decoded_is_kept_with_its_reason_and_not_tried_again(
    rig: Rig, box: DeadLetterBox, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.start_worker()
    good = make_task(rig.model)
    broken = build_envelope(good).replace(encode_task(good), b"\x80" * len(encode_task(good)))
    for body in (broken, b"\xc1 no envelope"):
        await asyncio.to_thread(rig.harness.put_raw, rig.model, body)
    found = await wait_for_dead(box, rig.model, 2)
    reasons = {one.letter.reason for one in found}
    assert any(reason.startswith("not a generation task") for reason in reasons)
    assert "the envelope can't be decoded" in reasons
    assert all(one.letter.attempts == () and one.task is None and one.id.startswith("body-") for one in found)
    result = await asyncio.to_thread(
        retry_dead, found[0].id, commands.options(rig.model), timeout_seconds=None, with_answer=False
    )
    assert (result, printed(capsys)[0]["outcome"]) == (1, "undecodable")
    assert await asyncio.to_thread(rig.harness.count_dead_letters, rig.model) == 2


def bury(settings: BrokerSettings, model: str, count: int) -> list[str]:
    """Put tasks straight into the dead letters."""
    use_msgpack_envelopes()
    writer = DeadLetterWriter(build_parameters(settings, name="test"), QueueKind(settings.queue_type))
    tasks = [make_task(model) for _ in range(count)]
    for task in tasks:
        letter = DeadLetter(reason="a test", died_at=5.0, attempts=(LostAttempt(1, "w", 4.0, "gone"),))
        body = build_envelope(task)
        writer.publish(
            DeadTask(queue_name=task_queue_name(model), body=body, message_id=task.request_id, letter=letter)
        )
    return [task.request_id for task in tasks]


def test_looking_neither_loses_nor_reorders_and_a_drop_removes_one(
    broker_settings: BrokerSettings,
    box: DeadLetterBox,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = fresh_name("model")
    ids = bury(broker_settings, model, 4)
    options = commands.options(model)
    for _ in range(3):
        assert list_dead(options) == 0
        assert [one["id"] for one in printed(capsys)] == ids
    assert drop_dead(ids[1], options) == 0
    assert [one.id for one in box.browse(task_queue_name(model))] == [ids[0], ids[2], ids[3]]
    assert drop_dead(ids[1], options) == 1
    assert "no dead letter has the id" in capsys.readouterr().err
    assert drop_dead(None, options) == 0
    assert box.browse(task_queue_name(model)) == []


def test_a_prompt_is_shown_only_where_the_body_was_asked_for(
    broker_settings: BrokerSettings, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    model = fresh_name("model")
    (task_id,) = bury(broker_settings, model, 1)
    for as_json in (False, True):
        options = commands.options(model, as_json=as_json)
        list_dead(options)
        assert show_dead(task_id, options, with_body=False) == 0
        shown = capsys.readouterr().out
        assert "Hello" not in shown
        assert "gone" in shown
        assert show_dead(task_id, options, with_body=True) == 0
        assert "Hello" in capsys.readouterr().out


def test_a_dead_letter_that_was_kept_twice_is_one(
    broker_settings: BrokerSettings, box: DeadLetterBox, commands: Commands
) -> None:
    model = fresh_name("model")
    (task_id,) = bury(broker_settings, model, 1)
    (found,) = box.browse(task_queue_name(model))
    assert found.task is not None
    DeadLetterWriter(build_parameters(broker_settings, name="test"), QueueKind(broker_settings.queue_type)).publish(
        DeadTask(queue_name=found.queue_name, body=build_envelope(found.task), message_id=task_id, letter=found.letter)
    )
    assert [(one.id, one.copies) for one in box.browse(found.queue_name)] == [(task_id, 2)]
    assert drop_dead(task_id, commands.options(model)) == 0
    assert box.browse(found.queue_name) == []


async def test_a_retry_runs_it_with_a_fresh_deadline_and_its_history(
    rig: Rig,
    box: DeadLetterBox,
    broker_settings: BrokerSettings,
    commands: Commands,
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker = await rig.start_worker()
    (task_id,) = await asyncio.to_thread(bury, broker_settings, rig.model, 1)
    options = commands.options(rig.model)
    code = await asyncio.to_thread(retry_dead, task_id, options, timeout_seconds=20.0, with_answer=True)
    (result,) = printed(capsys)
    assert (code, result["outcome"], result["request_id"]) == (0, "finished", f"{task_id}.r1")
    assert result["answer"][0]
    assert await asyncio.to_thread(box.browse, task_queue_name(rig.model)) == []
    assert worker.ran.outcomes == {f"{task_id}.r1": "finished"}


async def test_what_dies_again_keeps_the_history_of_both_lives(
    rig: Rig, box: DeadLetterBox, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id, _workers = await kill_three_workers(rig)
    await wait_for_dead(box, rig.model)
    options = commands.options(rig.model)
    async with asyncio.TaskGroup() as group:
        trying = group.create_task(
            asyncio.to_thread(retry_dead, request_id, options, timeout_seconds=30.0, with_answer=False)
        )
        # The one that kept the dead letter dies first.
        for _ in range(2):
            await (await rig.start_worker()).wait_ended()
        last = await rig.start_worker()
    assert trying.result() == 1
    (result,) = printed(capsys)
    assert result["outcome"] == ErrorCode.WORKER_LOST
    (found,) = await wait_for_dead(box, rig.model)
    assert (found.id, found.letter.retries, len(found.letter.attempts)) == (f"{request_id}.r1", 1, 6)
    assert found.next_id == f"{request_id}.r2"
    assert last.failure is None
    assert text_of(await read(await rig.submit(text="Next."))) == "Next."


def test_a_dead_letter_queue_that_was_deleted_is_made_again(
    broker_settings: BrokerSettings, box: DeadLetterBox
) -> None:
    model = fresh_name("model")
    assert box.browse(task_queue_name(model)) == []
    (task_id,) = bury(broker_settings, model, 1)
    with pika.BlockingConnection(build_parameters(broker_settings, name="test")) as connection:
        connection.channel().queue_delete(f"{task_queue_name(model)}.XQ")
    (again,) = bury(broker_settings, model, 1)
    assert [one.id for one in box.browse(task_queue_name(model))] == [again] != [task_id]

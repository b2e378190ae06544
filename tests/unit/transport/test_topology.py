"""What is declared, for each version of the broker, and what is said where the broker refuses it."""

import pytest
from pika.exceptions import ChannelClosedByBroker

from headrace.schema.levels import levels_of
from headrace.schema.names import task_queue_name
from headrace.schema.settings import BrokerSettings
from headrace.schema.settings.services import QueueType
from headrace.transport.rabbitmq.refusal import explain_refusal
from headrace.transport.rabbitmq.topology import (
    QueueKind,
    dead_letter_queue_arguments,
    find_kind,
    message_priority,
    read_version,
    task_queue_arguments,
)

NAME = task_queue_name("m")
VERSIONS = [(3, 10), (3, 11), (3, 12), (3, 13), (4, 0), (4, 2), (4, 3), (4, 4), (0, 0)]


@pytest.mark.parametrize("text", ["3.10.8", b"3.10.8", "3.10.8+1.gabc"])
def test_the_version_is_read(text: object) -> None:
    assert read_version(text) == (3, 10)


@pytest.mark.parametrize("text", [None, "", "unknown", 4])
def test_a_version_that_is_none_is_zero(text: object) -> None:
    assert read_version(text) == (0, 0)


def test_the_kind_comes_from_the_settings_and_the_broker() -> None:
    settings = BrokerSettings(url="amqp://h", queue_type="quorum")
    assert find_kind(settings, {"version": "4.1.2"}) == QueueKind("quorum", (4, 1))
    assert find_kind(settings, None) == QueueKind("quorum", (0, 0))


@pytest.mark.parametrize("version", VERSIONS)
def test_no_quorum_queue_is_declared_with_priorities_and_no_broker_limits_its_deliveries(
    version: tuple[int, int],
) -> None:
    arguments = task_queue_arguments(NAME, QueueKind("quorum", version))
    assert "x-max-priority" not in arguments
    assert arguments["x-delivery-limit"] >= 1_000
    assert dead_letter_queue_arguments(QueueKind("quorum", version))["x-delivery-limit"] >= 1_000


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_what_a_broker_compares_is_the_same_for_every_version(queue_type: QueueType) -> None:
    declared = [task_queue_arguments(NAME, QueueKind(queue_type, version)) for version in VERSIONS]
    if queue_type == "classic":
        # No version compares it on a classic queue.
        for arguments in declared:
            arguments.pop("x-consumer-timeout", None)
    assert all(arguments == declared[0] for arguments in declared)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_classic_queue_says_its_consumer_timeout_where_the_broker_takes_it(version: tuple[int, int]) -> None:
    said = "x-consumer-timeout" in task_queue_arguments(NAME, QueueKind("classic", version))
    assert said == ((3, 12) <= version < (4, 3))


def test_priorities_become_those_that_the_queue_has() -> None:
    def sent(kind: QueueKind, *priorities: int) -> list[int]:
        levels = levels_of(kind.queue_type)
        return [message_priority(levels.level_of(priority, levels.top_share), kind) for priority in priorities]

    assert sent(QueueKind("classic", (4, 1)), 0, 5, 9) == [7, 47, 79]
    assert sent(QueueKind("quorum", (4, 1)), 0, 5, 6, 9) == [0, 0, 5, 5]
    assert sent(QueueKind("quorum", (4, 3)), 0, 5, 9) == [2, 17, 29]


def test_two_levels_part_the_priorities_and_not_the_shares() -> None:
    kind = QueueKind("quorum", (4, 0))
    assert message_priority(levels_of("quorum").level_of(6, 0), kind) == 5
    assert message_priority(levels_of("quorum").level_of(5, 2), kind) == 0


def test_a_queue_of_another_type_names_the_setting() -> None:
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '{NAME}' in vhost '/': "
        "received 'quorum' but current is 'classic'"
    )
    said = explain_refusal(ChannelClosedByBroker(406, text))
    assert said is not None
    assert said.startswith(f"the queue {NAME} exists with x-queue-type = classic, not quorum: set broker.queue_type")
    assert f"rabbitmqctl delete_queue {NAME}" in said


def _say(argument: str, ours: str, theirs: str) -> str:
    text = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{NAME}' in vhost '/': "
        f"received {ours} but current is {theirs}"
    )
    said = explain_refusal(ChannelClosedByBroker(406, text))
    assert said is not None
    return said


def test_arguments_of_one_type_name_the_setting_too() -> None:
    said = _say("x-max-priority", "none", "the value '9' of type 'signedint'")
    assert said.startswith(f"the queue {NAME} exists with x-max-priority = 9, not none: set broker.queue_type")


def test_a_queue_with_another_argument_says_what_to_delete() -> None:
    said = _say("x-max-priority", "the value '99' of type 'signedint'", "the value '9' of type 'signedint'")
    assert said.startswith(f"the queue {NAME} exists with x-max-priority = 9, not 99: it was made by another version")
    assert f"rabbitmqctl delete_queue {NAME}" in said
    assert "broker.queue_type" in said


def test_a_channel_that_was_closed_for_another_reason_is_no_refusal() -> None:
    timed_out = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms."
    assert explain_refusal(ChannelClosedByBroker(406, timed_out)) is None
    assert explain_refusal(ChannelClosedByBroker(404, "NOT_FOUND - no queue")) is None
    assert explain_refusal(OSError("gone")) is None

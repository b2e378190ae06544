"""The doctor at the door of real services."""

import msgspec
import pytest

from headrace.apps.cli.doctor.connections import find_broker_problem, find_redis_problem
from headrace.apps.cli.nodes import RedisNode, free_ports
from headrace.schema.settings import BrokerSettings, RedisSettings, Secret

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


def test_a_broker_that_lets_us_in_is_fine(broker_settings: BrokerSettings) -> None:
    assert find_broker_problem(broker_settings) is None


def test_a_wrong_password_is_told_from_a_missing_broker(broker_settings: BrokerSettings) -> None:
    wrong = msgspec.structs.replace(broker_settings, password=Secret("wrong"))
    assert find_broker_problem(wrong) == "it refuses the user guest or the password"
    nobody = BrokerSettings(url=f"amqp://127.0.0.1:{free_ports(1)[0]}")
    assert find_broker_problem(nobody) == "can't be reached: Connection refused"


def test_an_address_that_is_none_is_a_problem_and_no_traceback() -> None:
    assert find_broker_problem(BrokerSettings(url="http://127.0.0.1/")) == "http is not amqp, amqps or memory"
    assert "port" in (find_broker_problem(BrokerSettings(url="amqp://127.0.0.1:port/")) or "").lower()
    assert "port" in (find_redis_problem(RedisSettings(url="redis://127.0.0.1:port/")) or "").lower()


def test_redis_is_asked_with_the_password(redis_node: RedisNode) -> None:
    settings = RedisSettings(url=redis_node.url)
    assert find_redis_problem(settings) is None
    problem = find_redis_problem(msgspec.structs.replace(settings, password=Secret("x")))
    assert problem is not None
    assert "AUTH" in problem


def test_a_service_of_another_kind_is_told(redis_node: RedisNode) -> None:
    broker = BrokerSettings(url=f"amqp://127.0.0.1:{redis_node.port}/")
    assert find_broker_problem(broker) is not None

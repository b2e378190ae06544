"""What every suite shares: the services as session-wide children, and a guard against blocking the event loop."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import hypothesis
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from headrace.apps.cli.nodes import (
    MissingServiceError,
    PostgresqlNode,
    RabbitMqNode,
    RedisNode,
    running_postgresql,
    running_rabbitmq,
    running_redis,
)
from headrace.schema.settings import BrokerSettings
from headrace.schema.settings.services import QueueType
from headrace.transport.rabbitmq.topology import QueueKind
from tests.support.brokers import kind_of, settings_of
from tests.support.services import IN_CI, give_up

# A shared machine may be slow at any moment: a test that fails by the clock says nothing.
# CI tries the same examples each time, so that a red run is about the change; at a desk they are new ones each time.
hypothesis.settings.register_profile("headrace", deadline=None)
hypothesis.settings.register_profile("headrace-ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("headrace-ci" if IN_CI else "headrace")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let one choose what the tests' task queues are."""
    types = get_args(QueueType)
    parser.addoption("--queue-type", choices=types, default=types[0], help="of the task queues on a real RabbitMQ")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test of the engine needs vLLM: without it, it is skipped on a laptop and fails in CI."""
    if item.get_closest_marker("engine") is not None and importlib.util.find_spec("vllm") is None:
        message = "vLLM is not installed: just engine"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail a test whose event loop is blocked by our code."""
    with blockbuster_ctx("headrace", excluded_modules=["headrace.apps.cli.nodes"]) as guard:
        yield guard


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMqNode]:
    """A RabbitMQ node of this test run."""
    try:
        with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as (node, _process):
            yield node
    except MissingServiceError as error:
        give_up(error)


@pytest.fixture(scope="session")
def redis_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNode]:
    """A Redis node of this test run."""
    try:
        with running_redis(tmp_path_factory.mktemp("redis")) as (node, _process):
            yield node
    except MissingServiceError as error:
        give_up(error)


@pytest.fixture(scope="session")
def postgresql_node() -> Iterator[PostgresqlNode]:
    """A PostgreSQL node of this test run."""
    try:
        with running_postgresql() as (node, _process):
            yield node
    except MissingServiceError as error:
        give_up(error)


@pytest.fixture(scope="session")
def queue_type(pytestconfig: pytest.Config) -> QueueType:
    """What task queues are in this test run."""
    chosen: Any = pytestconfig.getoption("--queue-type")
    return chosen


@pytest.fixture
def broker_settings(rabbitmq_node: RabbitMqNode, queue_type: QueueType) -> BrokerSettings:
    """Settings that reach the RabbitMQ node."""
    return settings_of(rabbitmq_node, queue_type)


@pytest.fixture
def queue_kind(broker_settings: BrokerSettings) -> QueueKind:
    """What task queues are at the RabbitMQ node, with its version."""
    return kind_of(broker_settings)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent

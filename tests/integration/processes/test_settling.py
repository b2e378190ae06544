"""Gateways with accounts that are killed: what their generations really used is charged, once, and nothing else."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from headrace.accounts.ledger.entries import Seen, read_entries
from headrace.accounts.quota.base import Amount, Standing
from headrace.accounts.quota.redis import RedisQuotaStore
from headrace.apps.cli.nodes import PostgresqlNode, RabbitMqNode, RedisNode
from headrace.schema.events import Usage
from headrace.schema.settings import RedisSettings
from tests.support.databases import PEPPER, postgresql_settings
from tests.support.processes import MODEL, WAIT_SECONDS, Deployment, Process, body_for, deployment, wait_for

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

ADMIN_KEY = "an administrators' key"
ENVIRONMENT = {
    "HEADRACE_ACCOUNTS_ENABLED": "true",
    "HEADRACE_ACCOUNTS_ADMIN_KEY": ADMIN_KEY,
    "HEADRACE_ACCOUNTS_PEPPER": PEPPER,
    # Beyond what a prompt has nothing is noted, so what is charged is what the worker says.
    "HEADRACE_METERING_NOTE_SECONDS": "600",
}
PRICES = f"""
[prices.{MODEL}]
input = 1.0
output = 10.0
"""
LIMITS = {"tokens_per_month": 1_000_000, "cost_per_month_micros": 10_000_000, "concurrent_generations": 10}


# The same code on either; the contract suite holds both to it. `just integration` runs all of them.
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    """The settings of a database of the test's own."""
    if request.param == "sqlite":
        yield {}
        return
    node: PostgresqlNode = request.getfixturevalue("postgresql_node")
    async with postgresql_settings(node) as settings:
        assert settings.database_password is not None
        yield {
            "HEADRACE_ACCOUNTS_DATABASE_URL": settings.database_url,
            "HEADRACE_ACCOUNTS_DATABASE_USERNAME": settings.database_username,
            "HEADRACE_ACCOUNTS_DATABASE_PASSWORD": settings.database_password.reveal(),
        }


@pytest.fixture
def deployed(
    rabbitmq_node: RabbitMqNode, redis_node: RedisNode, tmp_path: Path, database: dict[str, str]
) -> Generator[Deployment]:
    (tmp_path / "headrace.toml").write_text(PRICES)
    environment = ENVIRONMENT | database
    with deployment(rabbitmq_node, tmp_path, redis_url=redis_node.url, environment=environment) as deployed:
        yield deployed


class Tenant:
    """A tenant with one key, on whichever gateway is there."""

    def __init__(self, address: str, redis_url: str) -> None:
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as admin:
            made = admin.post("/admin/v1/tenants", json={"name": "acme", "limits": LIMITS})
            assert made.status_code == 201, made.text
            issued = admin.post("/admin/v1/keys", json={"tenant": "acme", "name": "app"}).json()
        self.tenant_id: str = made.json()["id"]
        self.headers = {"Authorization": f"Bearer {issued['secret']}"}
        self._redis = RedisSettings(url=redis_url)

    def ask(self, address: str, text: str, **fields: Any) -> httpx.Response:
        url = f"{address}/v1/chat/completions"
        return httpx.post(url, json=body_for(text, **fields), headers=self.headers, timeout=WAIT_SECONDS)

    def usage(self, address: str) -> dict[str, dict[str, int]]:
        """What the ledger says, by outcome."""
        answer = httpx.get(f"{address}/v1/usage?group_by=outcome", headers=self.headers)
        return {each["outcome"]: each for bucket in answer.json()["data"] for each in bucket["results"]}

    def wait_lost(self, address: str, count: int) -> dict[str, int]:
        lost: dict[str, int] = {}

        def is_there() -> bool:
            nonlocal lost
            lost = self.usage(address).get("lost", {"num_model_requests": 0})
            return lost["num_model_requests"] == count

        wait_for(is_there, "what the dead gateway ran is in the ledger")
        return lost

    def standing(self) -> Standing:
        """What its quotas say."""

        async def look() -> Standing:
            store = RedisQuotaStore(self._redis, clock=time.time)
            try:
                return await store.look(self.tenant_id, f"tenant:{self.tenant_id}")
            finally:
                await store.close()

        return asyncio.run(look())


class Reader(threading.Thread):
    """Reads a stream in the background until its gateway dies."""

    def __init__(self, address: str, tenant: Tenant, text: str) -> None:
        super().__init__(daemon=True)
        self.begun, self.enough = threading.Event(), threading.Event()
        self.request_id = ""
        self.words = 0
        self._address, self._tenant, self._text = address, tenant, text
        self.start()

    def run(self) -> None:
        body = body_for(self._text, stream=True)
        url = f"{self._address}/v1/chat/completions"
        with (
            suppress(httpx.TransportError),
            httpx.stream("POST", url, json=body, headers=self._tenant.headers, timeout=WAIT_SECONDS) as response,
        ):
            self.request_id = response.headers["headrace-request-id"]
            self.begun.set()
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    self._count(msgspec.json.decode(line.removeprefix("data: ")))
                if self.words > 20:
                    self.enough.set()

    def _count(self, frame: dict[str, Any]) -> None:
        text = "".join(choice["delta"].get("content") or "" for choice in frame["choices"])
        self.words += len(text.split())

    def finish(self) -> None:
        self.join(WAIT_SECONDS)
        assert not self.is_alive()


def logged(process: Process, event: str) -> dict[str, dict[str, Any]]:
    """The lines of one event, by request."""
    lines = (msgspec.json.decode(line) for line in process.log.read_text().splitlines() if line.startswith("{"))
    return {line["request_id"]: line for line in lines if line["event"] == event}


def noted_usage(folder: Path) -> Usage:
    """What the journal of the only gateway says last of the only generation."""
    lines = [line for file in folder.glob(".headrace/usage/*/*.jsonl") for line in file.read_bytes().splitlines()]
    noted = [entry.usage for entry in read_entries(lines) if isinstance(entry, Seen)]
    return noted[-1] if noted else Usage(0, 0)


def cost_of(usage: dict[str, int]) -> int:
    return usage["input_tokens"] + 10 * usage["output_tokens"]


def test_what_the_worker_really_made_is_charged(deployed: Deployment, redis_node: RedisNode) -> None:
    gateway = deployed.start_gateway()
    worker = deployed.start_worker()
    tenant = Tenant(deployed.address, redis_node.url)
    prompt = tenant.ask(deployed.address, "long", max_tokens=1).json()["usage"]["prompt_tokens"]
    readers = [Reader(deployed.address, tenant, "long") for _ in range(2)]
    # Its first token comes long after the gateway is gone, and its last one soon after that.
    late = Reader(deployed.address, tenant, "slow start")
    assert late.begun.wait(WAIT_SECONDS)
    assert all(reader.enough.wait(WAIT_SECONDS) for reader in readers)
    gateway.child.kill()
    for reader in (*readers, late):
        reader.finish()
    _, other = deployed.start_another_gateway()
    lost = tenant.wait_lost(other, 3)
    words = logged(worker, "last word left")
    assert set(words) == {reader.request_id for reader in (*readers, late)}
    made = logged(worker, "generation ran")
    for reader in readers:
        assert words[reader.request_id]["input_tokens"] == prompt
        assert made[reader.request_id]["outcome"] == "cancelled"
    for reader in (*readers, late):
        assert words[reader.request_id]["output_tokens"] == made[reader.request_id]["output_tokens"] >= reader.words
    assert words[late.request_id]["output_tokens"] == 10
    assert lost["input_tokens"] == sum(word["input_tokens"] for word in words.values())
    assert lost["output_tokens"] == sum(word["output_tokens"] for word in words.values())
    assert lost["cost_micros"] == cost_of(lost)
    finished = tenant.usage(other)["finished"]
    tokens = sum(each["input_tokens"] + each["output_tokens"] for each in (lost, finished))
    standing = tenant.standing()
    assert standing.month == Amount(tokens, cost_of(lost) + cost_of(finished))
    assert standing.running == 0


def test_what_no_worker_had_begun_costs_nothing(deployed: Deployment, redis_node: RedisNode) -> None:
    gateway = deployed.start_gateway()
    wait_for(deployed.is_ready, "the gateway is ready")
    tenant = Tenant(deployed.address, redis_node.url)
    reader = Reader(deployed.address, tenant, "long")
    assert reader.begun.wait(WAIT_SECONDS)
    assert tenant.standing().running == 1
    gateway.child.kill()
    reader.finish()
    _, other = deployed.start_another_gateway(HEADRACE_METERING_LAST_WORD_SECONDS="1")
    lost = tenant.wait_lost(other, 1)
    assert (lost["input_tokens"], lost["output_tokens"], lost["cost_micros"]) == (0, 0, 0)
    standing = tenant.standing()
    assert (standing.month, standing.running) == (Amount(), 0)
    # Its task still lies in the queue, and holds no worker up.
    worker = deployed.start_worker()
    wait_for(lambda: reader.request_id in logged(worker, "last word left"), "the worker gave up what nobody reads")
    assert tenant.wait_lost(other, 1) == lost


def test_where_the_worker_dies_too_what_was_last_noted_is_charged(
    deployed: Deployment, redis_node: RedisNode, tmp_path: Path
) -> None:
    gateway = deployed.start_gateway(HEADRACE_METERING_NOTE_SECONDS="0.1")
    worker = deployed.start_worker()
    tenant = Tenant(deployed.address, redis_node.url)
    reader = Reader(deployed.address, tenant, "long")
    assert reader.enough.wait(WAIT_SECONDS)
    wait_for(lambda: noted_usage(tmp_path).output_tokens > 20, "some of the answer was noted")
    worker.child.kill()
    gateway.child.kill()
    gateway.child.wait()
    reader.finish()
    noted = noted_usage(tmp_path)
    _, other = deployed.start_another_gateway(HEADRACE_METERING_LAST_WORD_SECONDS="1")
    lost = tenant.wait_lost(other, 1)
    assert (lost["input_tokens"], lost["output_tokens"]) == (noted.input_tokens, noted.output_tokens)
    assert lost["cost_micros"] == cost_of(lost)
    assert tenant.standing().month == Amount(lost["input_tokens"] + lost["output_tokens"], lost["cost_micros"])


def test_a_worker_that_is_killed_in_mid_answer_is_paid_once(deployed: Deployment, redis_node: RedisNode) -> None:
    deployed.start_gateway()
    first = deployed.start_worker()
    tenant = Tenant(deployed.address, redis_node.url)
    reader = Reader(deployed.address, tenant, "long")
    assert reader.enough.wait(WAIT_SECONDS)
    deployed.start_worker()
    first.child.kill()
    reader.finish()
    wait_for(lambda: "finished" in tenant.usage(deployed.address), "it is in the ledger")
    (finished,) = tenant.usage(deployed.address).values()
    assert finished["num_model_requests"] == 1
    # A word is a token, and all that the context leaves is said.
    assert reader.words == finished["output_tokens"] > 1000
    standing = tenant.standing()
    assert standing.month == Amount(finished["input_tokens"] + finished["output_tokens"], cost_of(finished))
    assert standing.running == 0

"""A retained generation whose gateway is killed: it has one row in the ledger, and its quota is settled once."""

import asyncio
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.accounts.quota.base import Standing
from headrace.accounts.quota.redis import RedisQuotaStore
from headrace.apps.cli.nodes import RabbitMqNode, RedisNode
from headrace.schema.settings import RedisSettings
from tests.integration.processes.reading import Reader, go_on
from tests.support.processes import WAIT_SECONDS, Deployment, body_for, deployment, wait_for

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

TOKENS = 600
ADMIN = "an administrators' key"
ACCOUNTS = {
    "HEADRACE_ACCOUNTS_ENABLED": "true",
    "HEADRACE_ACCOUNTS_ADMIN_KEY": ADMIN,
    "HEADRACE_METERING_LEASE_SECONDS": "1.5",
}
LIMITS = {"tokens_per_month": 100_000, "tokens_per_minute": 100_000, "concurrent_generations": 1}
NATIVE = body_for("long", stream=True, output={"usage": True}, generation_parameters={"max_tokens": TOKENS})


@pytest.fixture
def deployed(rabbitmq_node: RabbitMqNode, redis_node: RedisNode, tmp_path: Path) -> Generator[Deployment]:
    with deployment(rabbitmq_node, tmp_path, redis_url=redis_node.url) as deployed:
        yield deployed


class Tenant:
    """A tenant with one key, as its administrators see it."""

    def __init__(self, address: str, redis_url: str, database: Path) -> None:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        with httpx.Client(base_url=address, headers=headers, timeout=WAIT_SECONDS) as client:
            self.id = self._make(client, "/admin/v1/tenants", {"name": "acme", "limits": LIMITS})["id"]
            secret = self._make(client, "/admin/v1/keys", {"tenant": self.id, "name": "app"})["secret"]
        self.headers = {"Authorization": f"Bearer {secret}"}
        self._redis_url = redis_url
        self._database = database

    @staticmethod
    def _make(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def read_rows(self) -> list[tuple[str, str, int, int]]:
        query = "SELECT request_id, outcome, input_tokens, output_tokens FROM usage WHERE tenant_id = ?"
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            return list(connection.execute(query, (self.id,)))

    def look(self) -> Standing:
        async def look() -> Standing:
            store = RedisQuotaStore(RedisSettings(url=self._redis_url), clock=time.time)
            try:
                return await store.look(self.id, f"tenant:{self.id}")
            finally:
                await store.close()

        return asyncio.run(look())

    def count_month(self) -> int:
        month = self.look().month
        return 0 if month is None else month.tokens


def test_what_another_gateway_adopts_is_billed_once_with_what_was_used(
    deployed: Deployment, redis_node: RedisNode, tmp_path: Path
) -> None:
    gateway = deployed.start_gateway(**ACCOUNTS)
    _, other = deployed.start_another_gateway(**ACCOUNTS)
    deployed.start_worker()
    tenant = Tenant(deployed.address, redis_node.url, tmp_path / ".headrace" / "accounts.sqlite3")
    headers = {**tenant.headers, "Idempotency-Key": "the-one"}
    first = Reader("POST", f"{deployed.address}/v1/generations", json=NATIVE, headers=headers)
    assert first.enough.wait(WAIT_SECONDS)
    assert tenant.count_month() > TOKENS
    gateway.child.kill()
    gateway.child.wait()
    first.finish()
    rest = go_on(other, first, **tenant.headers).finish()
    assert rest.events[-1]["type"] == "generation_finished", rest.events[-1]
    usage = rest.events[-1]["usage"]
    used = usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] == TOKENS
    expected = [(first.request_id, "finished", usage["input_tokens"], TOKENS)]
    wait_for(lambda: tenant.read_rows() == expected, "it is in the ledger")
    wait_for(lambda: tenant.look().running == 0, "its slot is free")
    assert tenant.count_month() == used

    # The one that was killed comes back and finds what it had noted of the same generation in its journal.
    deployed.start_gateway(**ACCOUNTS)
    wait_for(
        lambda: len(list((tmp_path / ".headrace" / "usage").iterdir())) == 2, "what it had left was taken over by it"
    )
    assert tenant.read_rows() == expected
    standing = tenant.look()
    assert (standing.running, tenant.count_month()) == (0, used)
    # Its one slot is free for the next, and the same call is still that generation.
    again = httpx.post(f"{deployed.address}/v1/generations", json=NATIVE, headers=headers, timeout=WAIT_SECONDS)
    assert again.headers["idempotent-replayed"] == "true"
    next_ = httpx.post(f"{other}/v1/generations", json=body_for("Hi"), headers=tenant.headers, timeout=WAIT_SECONDS)
    assert next_.status_code == 200
    wait_for(lambda: len(tenant.read_rows()) == 2, "the next one is in the ledger too")

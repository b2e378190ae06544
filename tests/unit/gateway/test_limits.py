"""What is left of limits over HTTP: to callers their own, to administrators those of every key and tenant."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dirty_equals import IsPartialDict, IsStr

from headrace.accounts.database import Database, migrate_database, read_address
from headrace.accounts.ledger.store import DatabaseUsageStore
from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.accounts.quota.base import Amount, Granted, Reservation, Subject, Unseeded
from headrace.accounts.quota.memory import MemoryQuotaStore
from headrace.accounts.quota.remaining import QuotaLimitsReport
from headrace.accounts.secrets import Pepper
from headrace.accounts.store import StoreAdmin
from headrace.accounts.values import KeyDraft, TenantDraft
from headrace.gateway.app import GatewayAccounts, GatewayParts, create_app
from headrace.schema.settings import GatewaySettings, Secret, StorageSettings
from tests.support.databases import PEPPER, sqlite_settings
from tests.support.metering import GivenLimits
from tests.unit.gateway.doubles import MODELS, ScriptedSource, open_client
from tests.unit.gateway.test_callers import ADMIN_KEY, MASTER, KeyList, bearer

LIMITS = CallerLimits(key=KeyLimits(tokens_per_day=1000, requests_per_minute=9), tenant=KeyLimits(tokens_per_month=50))


@pytest.fixture
async def store() -> MemoryQuotaStore:
    return MemoryQuotaStore()


@pytest.fixture
async def client(tmp_path: Path, store: MemoryQuotaStore) -> AsyncGenerator[httpx.AsyncClient]:
    address = read_address(sqlite_settings(tmp_path), StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database = Database(address)
    admin = StoreAdmin(database, Pepper(PEPPER), actor="tests")
    await admin.create_tenant(TenantDraft(name="acme", limits=LIMITS.tenant))
    await admin.create_key(KeyDraft(tenant="acme", name="app", limits=LIMITS.key))
    report = QuotaLimitsReport(store, baseline=DatabaseUsageStore(database), limits=GivenLimits(LIMITS))
    accounts = GatewayAccounts(
        callers=KeyList(), admin_for=admin.as_actor, admin_key=Secret(ADMIN_KEY), limits=report, currency="EUR"
    )
    parts = GatewayParts(
        source=ScriptedSource(),
        models=MODELS,
        settings=GatewaySettings(api_key=Secret(MASTER)),
        version="1",
        accounts=accounts,
    )
    async with open_client(create_app(parts)) as opened:
        yield opened
    await database.close()


async def reserve(store: MemoryQuotaStore, subject: Subject, tokens: int) -> None:
    reservation = Reservation(request_id="r", tenant_id="t", owner="o", subjects=(subject,), estimate=Amount(tokens))
    verdict = await store.reserve(reservation)
    if isinstance(verdict, Unseeded):
        await store.seed("t", [(counter, Amount(30)) for counter in verdict.counters])
        verdict = await store.reserve(reservation)
    assert isinstance(verdict, Granted)


async def ask(client: httpx.AsyncClient, path: str, key: str) -> Any:
    answer = await client.get(path, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()


async def test_a_caller_sees_its_own(client: httpx.AsyncClient, store: MemoryQuotaStore) -> None:
    await reserve(store, Subject(name="key:key_a", limits=LIMITS.key), 20)
    body = await ask(client, "/v1/limits", "alice")
    assert body == {"object": "list", "currency": "EUR", "data": [IsPartialDict(owner="key")] * 2 + [IsPartialDict()]}
    requests, day, month = body["data"]
    assert requests == IsPartialDict(limit="requests_per_minute", size=9, used=1, left=8)
    assert day == {
        "limit": "tokens_per_day",
        "owner": "key",
        "size": 1000,
        "used": 30,
        "reserved": 20,
        "left": 950,
        "resets_at": IsStr(regex=r"20\d\d-\d\d-\d\dT00:00:00Z"),
    }
    assert month == IsPartialDict(limit="tokens_per_month", owner="tenant", size=50, used=0, reserved=0, left=50)
    # The one key of the settings has none.
    assert (await ask(client, "/v1/limits", MASTER))["data"] == []


async def test_administrators_see_those_of_every_key_and_tenant(
    client: httpx.AsyncClient, store: MemoryQuotaStore
) -> None:
    key = (await client.get("/admin/v1/keys/app", headers=bearer(ADMIN_KEY))).json()
    await reserve(store, Subject(name=f"key:{key['id']}", limits=LIMITS.key), 20)
    for reference in ("app", key["id"], key["secrets"][0]["prefix"]):
        _, day = (await ask(client, f"/admin/v1/keys/{reference}/limits", ADMIN_KEY))["data"]
        assert day == IsPartialDict(used=30, reserved=20, left=950)
    (month,) = (await ask(client, "/admin/v1/tenants/acme/limits", ADMIN_KEY))["data"]
    assert month == IsPartialDict(owner="tenant", left=50)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/v1/limits", "nobody", 401),
        ("/v1/limits?of=me", "alice", 400),
        ("/admin/v1/keys/app/limits", "alice", 401),
        ("/admin/v1/keys/nobody/limits", ADMIN_KEY, 404),
        ("/admin/v1/tenants/nobody/limits", ADMIN_KEY, 404),
        ("/admin/v1/tenants/acme/limits?x=1", ADMIN_KEY, 400),
    ],
)
async def test_what_is_refused(client: httpx.AsyncClient, path: str, key: str, status: int) -> None:
    assert (await client.get(path, headers=bearer(key))).status_code == status


async def test_the_description_has_it(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/schema")).json()["paths"]
    assert {"/v1/limits", "/admin/v1/keys/{key}/limits", "/admin/v1/tenants/{tenant}/limits"} <= set(paths)

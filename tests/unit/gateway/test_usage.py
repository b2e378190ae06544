"""The usage ledger over HTTP: to tenants their own, to administrators all, as JSON and as lines."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dirty_equals import IsPartialDict

from headrace.accounts.database import Database, migrate_database, read_address
from headrace.accounts.ledger.report import DatabaseUsageReport
from headrace.accounts.ledger.store import DatabaseUsageStore
from headrace.gateway.app import GatewayAccounts, GatewayParts, create_app
from headrace.schema.settings import GatewaySettings, Secret, StorageSettings
from tests.contract.accounts.test_usage import DAY, START, make_row
from tests.support.databases import sqlite_settings
from tests.unit.gateway.doubles import MODELS, ScriptedSource, open_client
from tests.unit.gateway.test_callers import ADMIN_KEY, MASTER, KeyList, bearer, no_admin

TIMES = f"start={START}&end={START + 3 * DAY}"


def make_parts(database: Database | None) -> GatewayParts:
    return GatewayParts(
        source=ScriptedSource(),
        models=MODELS,
        settings=GatewaySettings(api_key=Secret(MASTER)),
        version="1",
        accounts=GatewayAccounts(
            callers=KeyList(),
            admin_for=no_admin,
            admin_key=Secret(ADMIN_KEY),
            usage=None if database is None else DatabaseUsageReport(database),
            currency="EUR",
        ),
    )


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    address = read_address(sqlite_settings(tmp_path), StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database = Database(address)
    rows = [
        make_row(START + day * DAY, tenant_id=tenant, key_id=key, model=model)
        for day in range(2)
        for tenant, key, model in (("ten_a", "key_a", "m1"), ("ten_a", "key_2", "m2"), ("ten_b", "key_b", "m1"))
    ]
    await DatabaseUsageStore(database).insert(rows)
    async with open_client(create_app(make_parts(database))) as client:
        yield client
    await database.close()


async def ask(client: httpx.AsyncClient, query: str, key: str = "alice", path: str = "/v1/usage") -> Any:
    answer = await client.get(f"{path}?{query}", headers=bearer(key))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_tenant_sees_its_own(client: httpx.AsyncClient) -> None:
    body = await ask(client, f"{TIMES}&group_by=day,key")
    assert body == {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": START + day * DAY,
                "end_time": START + (day + 1) * DAY,
                "results": [
                    IsPartialDict(api_key_id=key, num_model_requests=1, input_tokens=10, output_tokens=5, model=None)
                    for key in ("key_2", "key_a")
                ],
            }
            for day in range(2)
        ],
        "has_more": False,
        "next_page": None,
        "currency": "EUR",
    }
    (bucket,) = (await ask(client, TIMES))["data"]
    assert bucket["results"][0] == IsPartialDict(num_model_requests=4, cost_micros=400, input_cached_tokens=8)
    assert (bucket["start_time"], bucket["end_time"]) == (START, START + 3 * DAY)
    (bucket,) = (await ask(client, f"{TIMES}&group_by=model&model=m2"))["data"]
    assert [each["model"] for each in bucket["results"]] == ["m2"]
    assert (await ask(client, TIMES, key="narrow"))["data"] == []
    # The one key of the settings belongs to no tenant.
    assert (await ask(client, TIMES, key=MASTER))["data"] == []


async def test_without_times_it_is_this_month(client: httpx.AsyncClient) -> None:
    assert (await ask(client, "")) == IsPartialDict(data=[])


async def test_times_are_read_in_many_forms(client: httpx.AsyncClient) -> None:
    for times in ("start=2025-11-01&end=2025-11-02", "start_time=2025-11-01T00:00:00Z&end_time=2025-11-01T23:59:59Z"):
        (bucket,) = (await ask(client, times))["data"]
        assert bucket["results"][0]["num_model_requests"] == 2


async def test_administrators_see_all(client: httpx.AsyncClient) -> None:
    (bucket,) = (await ask(client, f"{TIMES}&group_by=tenant", ADMIN_KEY, "/admin/v1/usage"))["data"]
    assert [(each["project_id"], each["num_model_requests"]) for each in bucket["results"]] == [
        ("ten_a", 4),
        ("ten_b", 2),
    ]
    (bucket,) = (await ask(client, f"{TIMES}&tenant=ten_b&key=key_b", ADMIN_KEY, "/admin/v1/usage"))["data"]
    assert bucket["results"][0]["num_model_requests"] == 2
    assert (await client.get("/admin/v1/usage", headers=bearer("alice"))).status_code == 401
    assert (await client.get("/v1/usage?tenant=ten_b", headers=bearer("alice"))).status_code == 400


async def test_pages(client: httpx.AsyncClient) -> None:
    first = await ask(client, f"{TIMES}&group_by=day,key&limit=3")
    assert first["has_more"]
    second = await ask(client, f"{TIMES}&group_by=day,key&limit=3&page={first['next_page']}")
    assert second == IsPartialDict(has_more=False, next_page=None)
    counts = [len(bucket["results"]) for bucket in (*first["data"], *second["data"])]
    assert counts == [2, 1, 1]


@pytest.mark.parametrize(("query", "accept"), [("&format=csv", "*/*"), ("", "text/csv"), ("", "text/csv;q=1, */*")])
async def test_lines(client: httpx.AsyncClient, query: str, accept: str) -> None:
    address = f"/v1/usage?{TIMES}&group_by=day,model&limit=2{query}"
    answer = await client.get(address, headers=bearer("alice") | {"Accept": accept})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.splitlines() == [
        "day,model,requests,input_tokens,output_tokens,cached_tokens,reasoning_tokens,cost_micros",
        "2025-11-01,m1,1,10,5,2,1,100",
        "2025-11-01,m2,1,10,5,2,1,100",
    ]
    page = answer.headers["headrace-next-page"]
    answer = await client.get(f"{address}&page={page}", headers=bearer("alice") | {"Accept": accept})
    assert answer.text.splitlines()[1] == "2025-11-02,m1,1,10,5,2,1,100"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start=yesterday", "start"),
        ("end=2025-13-01", "end"),
        ("start=5&end=5", "start"),
        ("group_by=colour", "group_by"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("format=xml", "format"),
        ("page=x", "page"),
        ("colour=red", "colour"),
    ],
)
async def test_what_can_not_be_read(client: httpx.AsyncClient, query: str, param: str) -> None:
    answer = await client.get(f"/v1/usage?{query}", headers=bearer("alice"))
    assert answer.status_code == 400
    assert answer.json()["error"] == IsPartialDict(type="invalid_request_error", param=param)


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [("key=nobody", "key", "not_found"), ("key=key_b", "key", "not_found"), ("model=m9", "model", "model_not_found")],
)
async def test_who_and_what_is_unknown_is_said(client: httpx.AsyncClient, query: str, param: str, code: str) -> None:
    answer = await client.get(f"/v1/usage?{query}", headers=bearer("alice"))
    assert answer.status_code == 404
    assert answer.json()["error"] == IsPartialDict(type="invalid_request_error", param=param, code=code)
    answer = await client.get(f"/admin/v1/usage?tenant=nobody&{query}", headers=bearer(ADMIN_KEY))
    assert answer.status_code == 404
    assert answer.json()["error"] == IsPartialDict(
        code="not_found", param="tenant", message="no tenant is called 'nobody'; there is none yet"
    )


async def test_a_tenant_learns_no_model_that_it_may_not_use(client: httpx.AsyncClient) -> None:
    known = await client.get("/v1/usage?model=org/large", headers=bearer("narrow"))
    unknown = await client.get("/v1/usage?model=demo", headers=bearer("narrow"))
    assert (known.status_code, unknown.status_code) == (200, 404)
    assert "demo'; you have: org/large" in unknown.json()["error"]["message"]


async def test_without_a_key_there_is_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/usage")).status_code == 401


async def test_the_description_has_it(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/schema")).json()["paths"]
    assert {"/v1/usage", "/admin/v1/usage"} <= set(paths)
    async with open_client(create_app(make_parts(None))) as without:
        assert "/v1/usage" not in (await without.get("/schema")).json()["paths"]
        assert (await without.get("/v1/usage", headers=bearer("alice"))).status_code == 404

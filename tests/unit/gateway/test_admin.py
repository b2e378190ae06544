"""The admin API over HTTP, on a database in a file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dirty_equals import IsStr

from headrace.accounts.database import Database, migrate_database, read_address
from headrace.accounts.secrets import Pepper
from headrace.accounts.store import StoreAdmin
from headrace.gateway.app import GatewayAccounts, GatewayParts, create_app
from headrace.schema.settings import GatewaySettings, Secret, StorageSettings
from tests.support.databases import ADMIN_KEY, PEPPER, sqlite_settings
from tests.unit.gateway.doubles import HELLO, MODELS, ScriptedSource, open_client
from tests.unit.gateway.test_callers import KeyList

HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    address = read_address(sqlite_settings(tmp_path), StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database = Database(address)
    admin = StoreAdmin(database, Pepper(PEPPER), actor="nobody")
    accounts = GatewayAccounts(callers=KeyList(), admin_for=admin.as_actor, admin_key=Secret(ADMIN_KEY))
    parts = GatewayParts(
        source=ScriptedSource(*HELLO), models=MODELS, settings=GatewaySettings(), version="1", accounts=accounts
    )
    async with open_client(create_app(parts)) as opened:
        opened.headers.update(HEADERS)
        yield opened
    await database.close()


async def make(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/admin/v1{path}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_tenant_and_a_key_from_beginning_to_end(client: httpx.AsyncClient) -> None:
    tenant = await make(client, "/tenants", name="acme", limits={"requests_per_minute": 5})
    assert tenant == {
        "id": IsStr(regex="ten_[0-9a-f]{24}"),
        "name": "acme",
        "created_at": IsStr(regex=r"20\d\d-.*Z"),
        "disabled_at": None,
        "rights": {},
        "limits": {"requests_per_minute": 5},
        "unknown_models": [],
    }
    assert (await client.get("/admin/v1/tenants/acme")).json() == tenant
    assert (await client.get("/admin/v1/tenants")).json() == {"data": [tenant], "next": None}

    issued = await make(client, "/keys", tenant="acme", name="app", rights={"models": ["demo"]})
    key = issued["key"]
    assert issued["secret"].startswith(f"hr_{key['secrets'][0]['prefix']}_")
    path = f"/admin/v1/keys/{key['id']}"
    patched = await client.patch(path, json={"name": "application", "rights": {"models": None}, "limits": {}})
    assert patched.json() == key | {"name": "application", "rights": {}}
    assert (await client.get(path)).json() == patched.json()
    rotated = (await client.post(f"{path}/rotate", json={"overlap_seconds": 60})).json()
    assert len(rotated["key"]["secrets"]) == 2
    assert len((await client.post(f"{path}/rotate")).json()["key"]["secrets"]) == 1
    revoked = (await client.post(f"{path}/revoke")).json()
    assert revoked["revoked_at"]
    assert (await client.post(f"{path}/revoke")).json() == revoked
    assert (await client.get("/admin/v1/keys", params={"tenant": "acme"})).json()["data"] == [revoked]
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404

    assert (await client.delete("/admin/v1/tenants/acme")).status_code == 409
    assert (await client.patch("/admin/v1/tenants/acme", json={"disabled": True})).json()["disabled_at"]
    assert (await client.delete("/admin/v1/tenants/acme")).status_code == 204


async def test_rights_to_a_model_that_nobody_serves_are_kept_and_said(client: httpx.AsyncClient) -> None:
    tenant = await make(client, "/tenants", name="acme", rights={"models": ["demo", "tomorrow"]})
    assert tenant["rights"]["models"] == ["demo", "tomorrow"]
    assert tenant["unknown_models"] == ["tomorrow"]
    issued = await make(client, "/keys", tenant="acme", name="app", rights={"models": ["demo"]})
    assert issued["key"]["unknown_models"] == []
    changed = await client.patch("/admin/v1/keys/app", json={"rights": {"models": ["demmo"]}})
    assert changed.json()["unknown_models"] == ["demmo"]
    (listed,) = (await client.get("/admin/v1/keys")).json()["data"]
    assert listed == changed.json()
    # What is stored, and so what the log says, is what was asked for.
    assert "unknown_models" not in (await client.get("/admin/v1/audit")).text


async def test_what_is_shown_once_is_kept_by_nobody_on_the_way(client: httpx.AsyncClient) -> None:
    await make(client, "/tenants", name="acme")
    answer = await client.post("/admin/v1/keys", json={"tenant": "acme", "name": "app"})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/tenants", {}, 400, "name"),
        ("POST", "/tenants", {"name": "a b"}, 400, "name"),
        ("POST", "/tenants", {"name": "ten_1"}, 400, "name"),
        ("POST", "/tenants", {"name": "acme", "limit": {}}, 400, "limit"),
        ("POST", "/tenants", {"name": "acme", "limits": {"requests_per_minute": 0}}, 400, "limits.requests_per_minute"),
        ("POST", "/tenants", {"name": "acme", "rights": {"max_priority": 10}}, 400, "rights.max_priority"),
        ("POST", "/tenants", {"name": "taken"}, 409, "name"),
        ("POST", "/keys", {"tenant": "nobody", "name": "app"}, 404, "tenant"),
        ("POST", "/keys", {"tenant": "taken", "name": "a", "expires_at": "2020-01-01T00:00:00Z"}, 400, "expires_at"),
        ("POST", "/keys", {"tenant": "taken", "name": "a", "expires_at": "2120-01-01T00:00:00"}, 400, "expires_at"),
        ("POST", "/keys", {"tenant": "taken", "name": "a", "expires_at": "tomorrow"}, 400, "expires_at"),
        ("PATCH", "/keys/key_nobodys", {"name": "other"}, 404, "key"),
        ("PATCH", "/tenants/taken", {"rights": {"retain": True}}, 400, "rights.retain"),
        ("GET", "/tenants?limit=0", None, 400, "limit"),
        ("GET", "/tenants?page=2", None, 400, "page"),
        ("GET", "/tenants?after=%00", None, 400, "after"),
        ("GET", "/keys?tenant=a%00", None, 400, "tenant"),
        ("GET", "/keys/%00", None, 404, "key"),
        ("GET", "/audit?before=x", None, 400, "before"),
    ],
)
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, status: int, param: str
) -> None:
    await make(client, "/tenants", name="taken")
    answer = await client.request(method, f"/admin/v1{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_it_has_a_key_of_its_own(client: httpx.AsyncClient) -> None:
    for key in ("alice", "", "x" * 40):
        answer = await client.get("/admin/v1/tenants", headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


async def test_the_log_says_who_did_what_without_secrets(client: httpx.AsyncClient) -> None:
    await make(client, "/tenants", name="acme")
    made = await client.post(
        "/admin/v1/keys", json={"tenant": "acme", "name": "app"}, headers={"Headrace-Actor": "alice@example.org"}
    )
    log = await client.get("/admin/v1/audit")
    actors = [(entry["actor"], entry["action"]) for entry in log.json()["data"]]
    assert actors == [("admin:alice@example.org", "key.create"), ("admin", "tenant.create")]
    assert made.json()["secret"].rpartition("_")[2] not in log.text
    assert "hash" not in log.text
    first = (await client.get("/admin/v1/audit", params={"limit": 1})).json()
    second = (await client.get("/admin/v1/audit", params={"limit": 1, "before": first["next"]})).json()
    assert first["data"] + second["data"] == log.json()["data"]
    refused = await client.delete("/admin/v1/tenants/acme", headers={"Headrace-Actor": "x" * 65})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "Headrace-Actor")


async def test_every_route_is_described(client: httpx.AsyncClient) -> None:
    described = (await client.get("/schema")).json()["paths"]
    found = {path: set(methods) for path, methods in described.items() if path.startswith("/admin/")}
    assert found == {
        "/admin/v1/tenants": {"get", "post"},
        "/admin/v1/tenants/{tenant}": {"get", "patch", "delete"},
        "/admin/v1/keys": {"get", "post"},
        "/admin/v1/keys/{key}": {"get", "patch", "delete"},
        "/admin/v1/keys/{key}/rotate": {"post"},
        "/admin/v1/keys/{key}/revoke": {"post"},
        "/admin/v1/audit": {"get"},
    }

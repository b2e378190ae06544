"""Keys of tenants at the door, and what they open."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from headrace.accounts.admin import AccountsAdmin
from headrace.gateway.app import GatewayAccounts, GatewayParts, create_app
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import GatewaySettings, Secret
from tests.unit.gateway.doubles import CHAT, HELLO, MODELS, ScriptedSource, open_client

MASTER = "the one key for everything"
ADMIN_KEY = "the administrators' key"
ALICE, BOB = Caller(tenant_id="ten_a", key_id="key_a"), Caller(tenant_id="ten_b", key_id="key_b")
NARROW = Caller(tenant_id="ten_c", key_id="key_c", models=frozenset({"org/large"}), max_priority=3)
KEYS = {"alice": ALICE, "bob": BOB, "narrow": NARROW}


class KeyList:
    """A `CallerDirectory` of a few keys."""

    def __init__(self) -> None:
        self.is_away = False

    async def find(self, key: str) -> Caller | None:
        if self.is_away:
            raise HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, "the database is away")
        return KEYS.get(key)


def no_admin(actor: str) -> AccountsAdmin:
    raise AssertionError(actor)


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(*HELLO)


@pytest.fixture
def directory() -> KeyList:
    return KeyList()


@pytest.fixture
async def client(source: ScriptedSource, directory: KeyList) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        GatewayParts(
            source=source,
            models=MODELS,
            settings=GatewaySettings(api_key=Secret(MASTER)),
            version="1",
            accounts=GatewayAccounts(callers=directory, admin_for=no_admin, admin_key=Secret(ADMIN_KEY)),
        )
    )
    async with open_client(app) as opened:
        yield opened


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def chat(client: httpx.AsyncClient, headers: dict[str, str], **fields: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json={**CHAT, **fields}, headers=headers)


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        (bearer("alice"), ALICE),
        ({"X-Api-Key": "bob"}, BOB),
        ({"X-Api-Key": "alice", **bearer("alice")}, ALICE),
        ({"X-Api-Key": "nobody", **bearer("alice")}, ALICE),
        (bearer(MASTER), Caller()),
    ],
)
async def test_a_request_is_its_callers(
    client: httpx.AsyncClient, source: ScriptedSource, headers: dict[str, str], caller: Caller
) -> None:
    assert (await chat(client, headers)).status_code == 200
    assert source.submissions[0].caller == caller


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("nobody"),
        {"Authorization": "Basic alice"},
        bearer(ADMIN_KEY),
        {"X-Api-Key": "bob", **bearer("alice")},
        {"X-Api-Key": MASTER, **bearer("alice")},
    ],
    ids=["none", "wrong", "scheme", "admin", "two callers", "a caller and the one key"],
)
async def test_whoever_is_not_one_caller_is_refused(
    client: httpx.AsyncClient, source: ScriptedSource, headers: dict[str, str]
) -> None:
    assert (await chat(client, headers)).status_code == 401
    assert source.submissions == []


async def test_a_header_that_comes_twice_is_refused(client: httpx.AsyncClient) -> None:
    twice = [("Authorization", "Bearer alice"), ("Authorization", "Bearer alice")]
    answer = await client.get("/v1/models", headers=twice)
    assert answer.status_code == 401


async def test_each_dialect_refuses_in_its_own_shape(client: httpx.AsyncClient) -> None:
    openai = await client.get("/v1/models")
    assert openai.json()["error"]["code"] == "invalid_api_key"
    anthropic = await client.post("/v1/messages", json={})
    assert anthropic.json()["error"]["type"] == "authentication_error"
    native = await client.post("/v1/generations", json={})
    assert native.json()["error"]["code"] == "unauthorized"
    assert {answer.status_code for answer in (openai, anthropic, native)} == {401}
    assert openai.headers["WWW-Authenticate"] == "Bearer"


async def test_a_directory_that_is_away_is_no_wrong_key(client: httpx.AsyncClient, directory: KeyList) -> None:
    directory.is_away = True
    answer = await chat(client, bearer("alice"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert (await client.get("/livez")).status_code == 200


async def test_only_its_models_are_there(client: httpx.AsyncClient, source: ScriptedSource) -> None:
    listed = (await client.get("/v1/models", headers=bearer("narrow"))).json()["data"]
    assert [model["id"] for model in listed] == ["org/large"]
    everything = (await client.get("/v1/models", headers=bearer("alice"))).json()["data"]
    assert [model["id"] for model in everything] == list(MODELS)
    anthropic = {**bearer("narrow"), "Anthropic-Version": "2023-06-01"}
    assert [model["id"] for model in (await client.get("/v1/models", headers=anthropic)).json()["data"]] == [
        "org/large"
    ]
    assert (await client.get("/v1/models/org/large", headers=bearer("narrow"))).status_code == 200

    hidden = await client.get("/v1/models/demo", headers=bearer("narrow"))
    missing = await client.get("/v1/models/dem0", headers=bearer("narrow"))
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace("demo", "dem0") == missing.text

    refused = await chat(client, bearer("narrow"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert source.submissions == []
    assert (await chat(client, bearer("narrow"), model="org/large")).status_code == 200


@pytest.mark.parametrize(
    ("key", "asked", "given"),
    [("narrow", "9", 3), ("narrow", "2", 2), ("narrow", None, 3), ("alice", "9", 9), ("alice", None, None)],
)
async def test_a_priority_above_the_ceiling_is_lowered(
    client: httpx.AsyncClient, source: ScriptedSource, key: str, asked: str | None, given: int | None
) -> None:
    headers = bearer(key) if asked is None else {**bearer(key), "Headrace-Priority": asked}
    assert (await chat(client, headers, model="org/large")).status_code == 200
    assert source.submissions[0].priority == given


async def test_metrics_are_for_those_who_run_the_gateway(client: httpx.AsyncClient) -> None:
    found = {
        key: (await client.get("/metrics", headers=bearer(key))).status_code for key in ("alice", MASTER, ADMIN_KEY)
    }
    assert found == {"alice": 403, MASTER: 200, ADMIN_KEY: 200}
    assert (await client.get("/metrics")).status_code == 401


async def test_nobody_sees_another_tenants_response(client: httpx.AsyncClient) -> None:
    body = {"model": "demo", "input": "Hi"}
    made = (await client.post("/v1/responses", json=body, headers=bearer("alice"))).raise_for_status().json()["id"]
    path = f"/v1/responses/{made}"
    follow = {**body, "previous_response_id": made}
    for key, status in (("bob", 404), ("alice", 200)):
        assert (await client.get(path, headers=bearer(key))).status_code == status
        assert (await client.get(f"{path}/input_items", headers=bearer(key))).status_code == status
    assert (await client.post("/v1/responses", json=follow, headers=bearer("bob"))).status_code == 400
    assert (await client.post("/v1/responses", json=follow, headers=bearer("alice"))).status_code == 200
    for key, status in (("bob", 404), ("alice", 200), ("alice", 404)):
        assert (await client.delete(path, headers=bearer(key))).status_code == status


async def test_nobody_cancels_another_tenants_generation(client: httpx.AsyncClient, source: ScriptedSource) -> None:
    source.running.add("gen_somebodys")
    assert (await client.delete("/v1/generations/gen_somebodys", headers=bearer("alice"))).status_code == 404
    assert (await client.delete("/v1/generations/gen_somebodys", headers=bearer(MASTER))).status_code == 200


async def test_without_a_key_of_its_own_there_is_no_admin_api(source: ScriptedSource, directory: KeyList) -> None:
    accounts = GatewayAccounts(callers=directory, admin_for=no_admin)
    parts = GatewayParts(source=source, models=MODELS, settings=GatewaySettings(), version="1", accounts=accounts)
    async with open_client(create_app(parts)) as client:
        assert (await client.get("/admin/v1/tenants", headers=bearer("alice"))).status_code == 404
        assert "/admin/v1/tenants" not in (await client.get("/schema")).json()["paths"]

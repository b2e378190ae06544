"""Which names the gateway answers to."""

import httpx
import pytest
from msgspec import structs

from headrace.apps.gateway.server import guard_hosts
from headrace.gateway.app import GatewayParts, create_app
from headrace.schema.settings import GatewaySettings, Secret
from tests.unit.gateway.doubles import CHAT, HELLO, MODELS, ScriptedSource, open_client

LOOPBACK = GatewaySettings()


def make_client(settings: GatewaySettings) -> httpx.AsyncClient:
    app = create_app(
        GatewayParts(source=ScriptedSource(*HELLO), models=MODELS, settings=guard_hosts(settings), version="1")
    )
    return open_client(app)


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        (LOOPBACK, "127.0.0.1:8000", 200),
        (LOOPBACK, "localhost:1234", 200),
        (LOOPBACK, "LOCALHOST", 200),
        (LOOPBACK, "[::1]:8000", 200),
        (LOOPBACK, "evil.example", 403),
        (LOOPBACK, "localhost.evil.example:8000", 403),
        (LOOPBACK, "", 403),
        (structs.replace(LOOPBACK, allowed_hosts=("llm.example",)), "llm.example", 200),
        (structs.replace(LOOPBACK, allowed_hosts=("llm.example",)), "localhost", 403),
    ],
)
async def test_a_name(settings: GatewaySettings, host: str, status: int) -> None:
    async with make_client(settings) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT, headers={"Host": host})
        assert answer.status_code == status
        if status == 403:
            assert "allowed_hosts" in answer.json()["error"]["message"]
            assert (await client.get("/livez", headers={"Host": host})).status_code == 200


def test_where_a_key_is_asked_for_any_name_will_do() -> None:
    settings = GatewaySettings(api_key=Secret("k"))
    assert guard_hosts(settings) == settings
    settings = GatewaySettings(host="0.0.0.0")  # noqa: S104 - what an operator may write
    assert guard_hosts(settings) == settings

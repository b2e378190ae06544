"""`headrace tenants`, `headrace keys` and `headrace limits`: on a database, and through a gateway without a socket."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from dirty_equals import IsPartialDict, IsStr
from rich.console import Console
from typer.testing import CliRunner, Result

from headrace.accounts.quota.remaining import LimitState
from headrace.apps.cli.accounts import showing
from headrace.apps.cli.accounts.client import AdminClient
from headrace.apps.cli.accounts.limits_table import make_limits_table
from headrace.apps.cli.accounts.own_limits import read_limits
from headrace.apps.cli.main import app
from headrace.gateway.app import create_app
from headrace.schema.errors import ErrorCode, HeadraceError
from tests.unit.gateway.doubles import open_client
from tests.unit.gateway.test_callers import ADMIN_KEY, bearer
from tests.unit.gateway.test_limits import client, store
from tests.unit.gateway.test_usage import make_parts

__all__ = ["client", "store"]  # fixtures


class Shell:
    """Types commands on a database of its own."""

    def __init__(self, folder: Path) -> None:
        self._environment: Mapping[str, str] = {
            "HEADRACE_STORAGE_FOLDER": str(folder),
            "HEADRACE_ACCOUNTS_ENABLED": "true",
            "HEADRACE_LOG_LEVEL": "error",
        }

    def type(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--database"], env=self._environment)

    def ask(self, *words: str) -> Any:
        answer = self.type(*words, "--json")
        assert answer.exit_code == 0, answer.stderr
        return msgspec.json.decode(answer.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_model_that_nobody_serves_is_said(shell: Shell) -> None:
    made = shell.type("tenants", "create", "acme", "--models", "smollm2-135m-instruct,gpt-9")
    assert made.exit_code == 0
    assert made.stderr.endswith("nobody serves gpt-9 now: requests for that get 404 until somebody does\n")
    assert made.stdout.startswith("NAME")
    key = shell.type("keys", "create", "acme", "--models", "gpt-9, gpt-10", "--json")
    assert "nobody serves gpt-9, gpt-10 now" in key.stderr
    assert msgspec.json.decode(key.stdout)["key"] == IsPartialDict(unknown_models=["gpt-9", "gpt-10"])
    assert shell.type("keys", "update", "default", "--models", "smollm2-135m-instruct").stderr == ""
    assert shell.ask("keys", "show", "default")["unknown_models"] == []


def test_lists_show_names(shell: Shell) -> None:
    shell.ask("tenants", "create", "acme")
    issued = shell.ask("keys", "create", "acme", "--name", "app")
    _, line = shell.type("keys", "list").stdout.splitlines()
    assert line.split()[:3] == ["app", f"hr_{issued['key']['secrets'][0]['prefix']}_…", "acme"]
    assert shell.ask("keys", "list") == [IsPartialDict(tenant_name="acme", tenant_id=IsStr(regex="ten_.*"))]
    _, made, *_ = shell.type("accounts", "audit", "acme").stdout.splitlines()
    assert made.split()[4:] == ["acme", "app", issued["key"]["id"]]


def test_what_is_meant_by_a_name_has_to_be_clear(shell: Shell) -> None:
    assert shell.type("keys", "show", "app").stderr == "headrace keys: no key is called 'app'; there is none yet\n"
    shell.ask("tenants", "create", "acme")
    for _ in range(2):
        shell.ask("keys", "create", "acme", "--name", "app")
    refused = shell.type("keys", "revoke", "app")
    assert (refused.exit_code, refused.stderr.partition(":")[2].split(":")[0]) == (1, " several keys are called 'app'")
    assert shell.type("keys", "create", "amce").stderr == (
        "headrace keys: no tenant is called 'amce'; you have: acme\n"
    )


async def test_what_is_left_is_shown_where_a_gateway_is_asked(client: httpx.AsyncClient) -> None:
    client.headers.update(bearer(ADMIN_KEY))
    admin = AdminClient(client)
    key = await showing.find_key(admin, "app")
    assert isinstance(key, showing.ShownKey)
    assert key.left is not None
    assert [each.limit for each in key.left] == ["requests_per_minute", "tokens_per_day"]
    tenant = await showing.find_tenant(admin, "acme")
    assert isinstance(tenant, showing.ShownTenant)
    assert tenant.left is not None
    assert [(each.limit, each.left) for each in tenant.left] == [("tokens_per_month", 50)]
    with pytest.raises(HeadraceError, match="no key is called 'nobody'; you have: acme's app") as caught:
        await showing.find_key(admin, "nobody")
    assert caught.value.code == ErrorCode.NOT_FOUND


async def test_the_owner_of_a_key_asks_for_its_own(client: httpx.AsyncClient) -> None:
    with pytest.raises(HeadraceError, match="HEADRACE_API_KEY"):
        await read_limits(client)
    client.headers.update(bearer("alice"))
    assert [each.owner for each in (await read_limits(client)).data] == ["key", "key", "tenant"]
    async with open_client(create_app(make_parts(None))) as without:
        without.headers.update(bearer("alice"))
        with pytest.raises(HeadraceError, match=r"accounts\.enabled"):
            await read_limits(without)


def test_a_gateway_that_is_away_is_one_line() -> None:
    answer = CliRunner().invoke(app, ["limits", "--url", "http://127.0.0.1:9"])
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("headrace limits: no gateway answers at http://127.0.0.1:9")


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    anew = datetime(2026, 1, 1, tzinfo=UTC)
    limits = [
        LimitState(
            limit="tokens_per_day", owner="key", size=2_000_000, used=5000, reserved=100, left=1_994_900, resets_at=anew
        ),
        LimitState(
            limit="cost_per_month_micros",
            owner="tenant",
            size=12_500_000,
            used=1,
            reserved=0,
            left=12_499_999,
            resets_at=None,
        ),
    ]
    Console(width=200).print(make_limits_table(limits))
    _, tokens, cost = capsys.readouterr().out.splitlines()
    assert tokens.split() == ["tokens/day", "key", "2,000,000", "5,000", "100", "1,994,900", "2026-01-01", "00:00"]
    assert cost.split() == ["cost/month", "tenant", "12.500000", "0.000001", "0.000000", "12.499999"]

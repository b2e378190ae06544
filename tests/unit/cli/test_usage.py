"""`headrace usage`: what is typed, what is asked, what is printed."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from dirty_equals import IsPartialDict, IsStr
from msgspec import structs

from headrace.accounts.database import Database, migrate_database, read_address
from headrace.accounts.ledger.report import DatabaseUsageReport, UsageQuery
from headrace.accounts.ledger.store import DatabaseUsageStore
from headrace.accounts.secrets import Pepper
from headrace.accounts.store import StoreAdmin
from headrace.accounts.values import KeyDraft, TenantDraft
from headrace.apps.cli.accounts.options import Door
from headrace.apps.cli.usage.asking import to_query
from headrace.apps.cli.usage.client import UsageClient
from headrace.apps.cli.usage.options import UsageOptions
from headrace.apps.cli.usage.run import show_usage
from headrace.apps.gateway.accounts_database import open_database
from headrace.gateway.app import create_app
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import AccountsSettings, Settings, StorageSettings
from tests.contract.accounts.test_usage import DAY, START, make_row
from tests.support.databases import PEPPER, sqlite_settings
from tests.unit.gateway.doubles import open_client
from tests.unit.gateway.test_callers import ADMIN_KEY, bearer
from tests.unit.gateway.test_usage import make_parts

NOW = datetime.fromtimestamp(START + 10 * DAY, UTC)
OPTIONS = UsageOptions(
    by="model",
    since=None,
    until=None,
    tenant=None,
    key=None,
    model=None,
    as_json=False,
    as_csv=False,
    door=Door(database=True),
)


def typed(**options: object) -> UsageOptions:
    return structs.replace(OPTIONS, **options)


def test_times_and_groups() -> None:
    assert to_query(typed(by="model, key"), now=NOW) == UsageQuery(
        start=START, end=START + 10 * DAY + 1, group_by=("model", "key"), limit=1000
    )
    week = to_query(typed(since="7d", until="1d"), now=NOW)
    assert (week.start, week.end) == (START + 3 * DAY, START + 9 * DAY)
    dates = to_query(typed(since="2025-11-02", until="2025-11-03"), now=NOW)
    assert (dates.start, dates.end) == (START + DAY, START + 2 * DAY)


@pytest.mark.parametrize("options", [{"by": "colour"}, {"since": "soon"}, {"since": "1d", "until": "2d"}])
def test_what_can_not_be_read(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"--by|no time|--since"):
        to_query(typed(**options), now=NOW)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    folder = str(tmp_path / "state")
    settings = Settings(accounts=AccountsSettings(enabled=True), storage=StorageSettings(folder=folder))
    open_database(settings)

    async def fill() -> None:
        database = Database(read_address(settings.accounts, settings.storage))
        rows = [make_row(START + number, model=f"m{number % 2}", cost_micros=1_500_000) for number in range(3)]
        admin = StoreAdmin(database, Pepper(PEPPER), actor="tests")
        await admin.create_tenant(TenantDraft(name="acme"))
        key = (await admin.create_key(KeyDraft(tenant="acme", name="app"))).key
        named = make_row(START - DAY, tenant_id=key.tenant_id, key_id=key.id)
        await DatabaseUsageStore(database).insert([*rows, named])
        await database.close()

    asyncio.run(fill())
    return {"HEADRACE_STORAGE_FOLDER": folder, "HEADRACE_ACCOUNTS_ENABLED": "true"}


def test_a_table_for_people(environ: dict[str, str]) -> None:
    lines = show_usage(OPTIONS, environ, now=NOW).splitlines()
    assert [line.split() for line in lines] == [
        ["MODEL", "REQUESTS", "INPUT", "OUTPUT", "CACHED", "COST", "USD"],
        ["m0", "2", "20", "10", "4", "3.000000"],
        ["m1", "1", "10", "5", "2", "1.500000"],
        ["total", "3", "30", "15", "6", "4.500000"],
    ]
    assert show_usage(typed(since="2025-01-01", until="2025-02-01"), environ, now=NOW) == "Nothing was used.\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "none"}, "no model is called 'none'; you have: smollm2-135m-instruct"),
        ({"tenant": "nobody"}, "no tenant is called 'nobody'; you have: acme"),
        ({"key": "nobody"}, r"no key is called 'nobody'; you have: acme's app \(hr_\w{10}\)"),
    ],
)
def test_what_nobody_knows_is_said(environ: dict[str, str], options: dict[str, str], said: str) -> None:
    with pytest.raises(HeadraceError, match=said):
        show_usage(typed(**options), environ, now=NOW)


def test_people_are_shown_by_name(environ: dict[str, str]) -> None:
    options = typed(by="tenant,key", key="app", tenant="acme", since="2025-10-01")
    _, line = show_usage(options, environ, now=NOW).splitlines()
    assert re.fullmatch(r"acme +app hr_\w{10} +1 +10 .*", line)
    (shown,) = msgspec.json.decode(show_usage(structs.replace(options, as_json=True), environ, now=NOW))
    assert shown == IsPartialDict(tenant_name="acme", key_name="app", key_prefix=IsStr(regex=r"\w{10}"))
    assert shown["group"] == {"tenant": IsStr(regex="ten_.*"), "key": IsStr(regex="key_.*")}
    header, line = show_usage(structs.replace(options, as_csv=True), environ, now=NOW).splitlines()
    assert header.startswith("tenant,key,requests,")
    assert header.endswith(",cost_micros,tenant_name,key_name,key_prefix")
    assert line.split(",")[-3:] == ["acme", "app", shown["key_prefix"]]
    # Of what is gone the id is left.
    assert show_usage(typed(by="tenant,key", tenant="t"), environ, now=NOW).splitlines()[1].split()[:2] == ["t", "k"]


def test_lines_and_json(environ: dict[str, str]) -> None:
    lines = show_usage(typed(as_csv=True, by="day"), environ, now=NOW).splitlines()
    assert lines == [
        "day,requests,input_tokens,output_tokens,cached_tokens,reasoning_tokens,cost_micros",
        "2025-11-01,3,30,15,6,3,4500000",
    ]
    shown = msgspec.json.decode(show_usage(typed(as_json=True), environ, now=NOW))
    assert [(each["group"], each["requests"]) for each in shown] == [({"model": "m0"}, 2), ({"model": "m1"}, 1)]


async def test_through_a_gateway(tmp_path: Path) -> None:
    address = read_address(sqlite_settings(tmp_path), StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database = Database(address)
    rows = [make_row(START + day * DAY, tenant_id=tenant) for day in range(2) for tenant in ("ten_a", "ten_b")]
    await DatabaseUsageStore(database).insert(rows)
    query = UsageQuery(start=START, end=START + 5 * DAY, group_by=("day", "tenant"))
    expected = await DatabaseUsageReport(database).read(query)
    assert len(expected.sums) == 4
    async with open_client(create_app(make_parts(database))) as http:
        admin, own = UsageClient(http, is_admin=True), UsageClient(http, is_admin=False)
        with pytest.raises(HeadraceError, match="HEADRACE_ACCOUNTS_ADMIN_KEY"):
            await admin.read(query)
        http.headers.update(bearer(ADMIN_KEY))
        assert await admin.read(query) == expected
        assert admin.currency == "EUR"
        first = await admin.read(structs.replace(query, limit=3))
        rest = await admin.read(structs.replace(query, after=first.after))
        assert first.sums + rest.sums == expected.sums
        http.headers.update(bearer("bob"))
        assert [each.group["tenant"] for each in (await own.read(query)).sums] == ["ten_b", "ten_b"]
        with pytest.raises(HeadraceError, match="page"):
            await own.read(structs.replace(query, after="nonsense"))
    await database.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"as_json": True, "as_csv": True}, "--csv"),
        ({"door": Door(database=True, url="http://x")}, "--url"),
        ({"door": Door(), "tenant": "t"}, "--tenant"),
    ],
)
def test_what_does_not_go_together(environ: dict[str, str], options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        show_usage(typed(**options), environ, now=NOW)

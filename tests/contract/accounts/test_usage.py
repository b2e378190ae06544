"""The usage ledger in both databases: rows once, sums by the database, budgets from it."""

import base64

import msgspec
import pytest
from dirty_equals import IsPartialDict
from msgspec import structs
from sqlalchemy import func, select

from headrace.accounts.database import Database
from headrace.accounts.ledger.base import LOST, UsageRow
from headrace.accounts.ledger.report import DatabaseUsageReport, Dimension, UsagePage, UsageQuery
from headrace.accounts.ledger.store import DatabaseUsageStore
from headrace.accounts.ledger.table import usage
from headrace.accounts.quota.base import Amount, Counter
from headrace.accounts.store import StoreAdmin
from headrace.accounts.values import KeyDraft, TenantDraft
from headrace.schema.errors import ErrorCode, HeadraceError
from tests.support.values import fresh_name

DAY = 86400
# The first instant of 1 November 2025, UTC.
START = 1_761_955_200


def make_row(at: int = START, **changes: str | int | None) -> UsageRow:
    row = UsageRow(
        request_id=fresh_name("gen"),
        tenant_id="t",
        key_id="k",
        model="m",
        route="own",
        target="m",
        input_tokens=10,
        output_tokens=5,
        cached_tokens=2,
        reasoning_tokens=1,
        cost_micros=100,
        queue_ms=3,
        outcome="finished",
        started_at=at * 1000,
        ended_at=at * 1000 + 50,
    )
    return structs.replace(row, **changes)


async def read(database: Database, *group_by: Dimension, **options: str | int | frozenset[str]) -> UsagePage:
    query = UsageQuery(start=START, end=START + 40 * DAY, group_by=group_by)
    return await DatabaseUsageReport(database).read(structs.replace(query, **options))


async def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    row = make_row(target="x" * 300)
    await DatabaseUsageStore(database).insert([row])
    async with database.reading() as connection:
        found = (await connection.execute(select(usage))).mappings().one()
    assert dict(found) == structs.asdict(row) | {"target": "x" * 256}


async def test_a_request_has_one_row_and_lost_gives_way(database: Database) -> None:
    store = DatabaseUsageStore(database)
    lost, known = make_row(request_id="a", outcome=LOST, output_tokens=1), make_row(request_id="a", output_tokens=7)
    await store.insert([lost, make_row(request_id="b")])
    await store.insert([lost])
    await store.insert([known])
    await store.insert([make_row(request_id="a", output_tokens=9), lost])
    async with database.reading() as connection:
        rows = (await connection.execute(select(usage.c.request_id, usage.c.output_tokens, usage.c.outcome))).all()
    assert sorted(tuple(row) for row in rows) == [("a", 7, "finished"), ("b", 5, "finished")]


async def test_many_rows_are_one_transaction(database: Database) -> None:
    await DatabaseUsageStore(database).insert([make_row() for _ in range(500)])
    async with database.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(usage))).scalar_one() == 500


async def test_what_budgets_have_used(database: Database) -> None:
    store = DatabaseUsageStore(database)
    await store.insert(
        [
            make_row(),
            make_row(START + DAY - 1),
            make_row(START + DAY),
            make_row(START + DAY, key_id="other"),
            make_row(START - 1),
            make_row(START + 30 * DAY),
        ]
    )
    assert await store.used(
        [
            Counter("key:k", "20251101"),
            Counter("key:k", "202511"),
            Counter("tenant:t", "202511"),
            Counter("tenant:t", "202510"),
            Counter("key:nobody", "202511"),
        ]
    ) == [Amount(30, 200), Amount(45, 300), Amount(60, 400), Amount(15, 100), Amount(0, 0)]


async def test_sums(database: Database) -> None:
    await DatabaseUsageStore(database).insert(
        [make_row(START + day * DAY, model=model) for day in range(3) for model in ("a", "b", "b")]
    )
    (total,) = (await read(database)).sums
    assert (total.group, total.requests, total.input_tokens, total.cost_micros) == ({}, 9, 90, 900)
    assert (total.output_tokens, total.cached_tokens, total.reasoning_tokens) == (45, 18, 9)
    by_model = (await read(database, "model")).sums
    assert [(each.group, each.requests) for each in by_model] == [({"model": "a"}, 3), ({"model": "b"}, 6)]
    by_day = (await read(database, "model", "day")).sums
    assert [(each.group["day"], each.group["model"]) for each in by_day] == [
        (START + day * DAY, model) for day in range(3) for model in ("a", "b")
    ]
    assert (await read(database, start=START + 50 * DAY, end=START + 60 * DAY)).sums == ()


async def test_a_tenant_sees_its_own(database: Database) -> None:
    await DatabaseUsageStore(database).insert(
        [make_row(), make_row(key_id="k2"), make_row(tenant_id="u", key_id="k3", route="provider:x")]
    )
    assert [each.group for each in (await read(database, "key", tenant_id="t")).sums] == [{"key": "k"}, {"key": "k2"}]
    assert (await read(database, key="k2")).sums[0].requests == 1
    everything = (await read(database, "tenant", "route", "outcome")).sums
    assert [each.group for each in everything] == [
        IsPartialDict(tenant="t", route="own"),
        IsPartialDict(tenant="u", route="provider:x", outcome="finished"),
    ]


async def test_people_are_asked_about_by_name_and_shown_by_name(database: Database, admin: StoreAdmin) -> None:
    acme, beta = [await admin.create_tenant(TenantDraft(name=name)) for name in ("acme", "beta")]
    keys = [(await admin.create_key(KeyDraft(tenant=each.id, name="app"))).key for each in (acme, beta)]
    night = (await admin.create_key(KeyDraft(tenant="acme", name="night"))).key
    await DatabaseUsageStore(database).insert(
        [make_row(tenant_id=key.tenant_id, key_id=key.id) for key in (*keys, night)] + [make_row(model="old")]
    )
    everything = (await read(database, "tenant", "key")).sums
    assert {(each.tenant_name, each.key_name, each.key_prefix) for each in everything} == {
        *((key.tenant_name, key.name, key.secrets[0].prefix) for key in (*keys, night)),
        (None, None, None),
    }
    for asked, count in (
        ({"tenant": "acme"}, 2),
        ({"tenant": beta.id}, 1),
        ({"key": "night"}, 1),
        ({"key": keys[0].secrets[0].prefix}, 1),
        ({"key": f"hr_{keys[1].secrets[0].prefix}"}, 1),
        ({"tenant": "acme", "key": "app"}, 1),
        ({"tenant_id": beta.id, "key": "app"}, 1),
        # Both are gone, or never were: the ledger knows them.
        ({"tenant": "t", "key": "k"}, 1),
    ):
        (found,) = (await read(database, **asked)).sums
        assert found.requests == count, asked
    for asked, code in (
        ({"tenant": "gamma"}, ErrorCode.NOT_FOUND),
        ({"key": "day"}, ErrorCode.NOT_FOUND),
        ({"key": "app"}, ErrorCode.CONFLICT),
        ({"tenant_id": beta.id, "key": "night"}, ErrorCode.NOT_FOUND),
        ({"tenant_id": beta.id, "key": night.id}, ErrorCode.NOT_FOUND),
    ):
        with pytest.raises(HeadraceError) as caught:
            await read(database, **asked)
        assert caught.value.code == code, asked
        if "tenant_id" in asked:
            assert "acme" not in caught.value.message


async def test_a_model_is_one_that_is_served_or_was_used(database: Database) -> None:
    await DatabaseUsageStore(database).insert([make_row(model="old"), make_row(model="theirs", tenant_id="u")])
    served = frozenset({"new", "newer"})
    assert (await read(database, model="new", served=served)).sums == ()
    assert (await read(database, model="old", served=served, tenant_id="t")).sums[0].requests == 1
    assert (await read(database, model="whatever")).sums == ()
    with pytest.raises(HeadraceError, match="no model is called 'theirs'; you have: new, newer") as caught:
        await read(database, model="theirs", served=served, tenant_id="t")
    assert (caught.value.code, caught.value.param) == (ErrorCode.MODEL_NOT_FOUND, "model")


async def test_pages_follow_each_other(database: Database) -> None:
    await DatabaseUsageStore(database).insert(
        [make_row(START + day * DAY, model=f"m{number}") for day in range(3) for number in range(5)]
    )
    seen: list[tuple[str | int, str | int]] = []
    page = await read(database, "day", "model", limit=4)
    while True:
        seen += [(each.group["day"], each.group["model"]) for each in page.sums]
        if page.after is None:
            break
        page = await read(database, "day", "model", limit=4, after=page.after)
    assert seen == [(START + day * DAY, f"m{number}") for day in range(3) for number in range(5)]


def to_cursor(*values: str | int) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


@pytest.mark.parametrize("text", ["\0", "m\0", "key_\0", "\U0001f600", "x" * 5000])
async def test_whatever_is_asked_about_is_only_unknown(database: Database, text: str) -> None:
    for asked in ({"tenant": text}, {"key": text}, {"model": text, "served": frozenset[str]()}):
        with pytest.raises(HeadraceError) as caught:
            await read(database, **asked)
        assert caught.value.code in (ErrorCode.NOT_FOUND, ErrorCode.MODEL_NOT_FOUND, ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize("after", [to_cursor(2**63), to_cursor(2**64 - 1), to_cursor(-(2**63))])
async def test_a_page_of_a_day_that_never_is(database: Database, after: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        await read(database, "day", after=after)
    assert caught.value.param == "page"


@pytest.mark.parametrize("after", ["nonsense", "WzFd", "", "éé", to_cursor("a\0")])
async def test_a_page_that_is_none_of_ours(database: Database, after: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        await read(database, "model", after=after)
    assert (caught.value.code, caught.value.param) == (ErrorCode.INVALID_REQUEST, "page")

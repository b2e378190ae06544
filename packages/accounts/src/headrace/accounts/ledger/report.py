"""Sums of the ledger, added up by the database."""

import base64
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

import msgspec
from msgspec import Struct, structs
from sqlalchemy import BigInteger, ColumnElement, Select, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.database import Database
from headrace.accounts.ledger.choosing import check_model, choose_key, choose_tenant
from headrace.accounts.ledger.table import usage
from headrace.accounts.quota.periods import DAY_SECONDS
from headrace.accounts.store.finding import NUL
from headrace.accounts.store.naming import read_key_names, read_tenant_names
from headrace.schema.errors import ErrorCode, HeadraceError

Dimension = Literal["day", "tenant", "key", "model", "route", "outcome"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
MAX_ROWS = 1000

_DAY_MS = DAY_SECONDS * 1000
_LAST_DAY = 2**31
# Written out: a parameter would make PostgreSQL take what is shown and what is grouped by for two expressions.
_COLUMNS: dict[Dimension, ColumnElement[Any]] = {
    "day": literal_column(f"started_at / {_DAY_MS}", BigInteger),
    "tenant": usage.c.tenant_id,
    "key": usage.c.key_id,
    "model": usage.c.model,
    "route": usage.c.route,
    "outcome": usage.c.outcome,
}
_SUMS = (
    func.count(),
    func.sum(usage.c.input_tokens),
    func.sum(usage.c.output_tokens),
    func.sum(usage.c.cached_tokens),
    func.sum(usage.c.reasoning_tokens),
    func.sum(usage.c.cost_micros),
)


class UsageQuery(Struct, frozen=True, kw_only=True):
    """What to add up.

    Attributes:
        start: first instant, Unix seconds; a generation belongs to the instant in which it began.
        end: first instant that is too late, Unix seconds.
        group_by: a sum for each of what differs in these.
        tenant_id: whose usage may be seen at all; None for everybody's.
        tenant: of this tenant only, by its id or name.
        key: of this key only, by its id, prefix or name.
        model: of this served name only.
        served: the served names of now, as far as whoever asks may know them; None if all names are to be taken.
        limit: most sums.
        after: of an earlier answer, to go on behind it.
    """

    start: int
    end: int
    group_by: tuple[Dimension, ...] = ()
    tenant_id: str | None = None
    tenant: str | None = None
    key: str | None = None
    model: str | None = None
    served: frozenset[str] | None = None
    limit: int = 100
    after: str | None = None


class UsageSum(Struct, frozen=True, kw_only=True):
    """What some generations used together.

    Attributes:
        group: what they have in common, by dimension; a day is that of its first instant, Unix seconds.
        requests: how many they are.
        input_tokens: of prompts, those of the cache included.
        output_tokens: of answers.
        cached_tokens: of prompts, from the cache.
        reasoning_tokens: of answers, that were reasoning.
        cost_micros: in millionths of the currency.
        tenant_name: what the tenant of the group is called; None of one that is gone.
        key_name: what the key of the group is called; None of one that is gone.
        key_prefix: how the newest secret of that key begins, after `hr_`.
    """

    group: dict[Dimension, str | int]
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micros: int = 0
    tenant_name: str | None = None
    key_name: str | None = None
    key_prefix: str | None = None


class UsagePage(Struct, frozen=True, kw_only=True):
    """Some sums, in the order of what they have in common.

    Attributes:
        sums: at most as many as were asked for.
        after: asks for the next ones; None where there are no more.
    """

    sums: tuple[UsageSum, ...]
    after: str | None = None


class UsageReport(Protocol):
    """Adds up the ledger."""

    async def read(self, query: UsageQuery) -> UsagePage:
        """Return sums.

        Raises:
            HeadraceError: `invalid_request`: `after` is none of ours; `not_found`, `model_not_found` or `conflict`:
                nobody is called so, or several are; `accounts_unavailable`.
        """
        ...


class DatabaseUsageReport:
    """A `UsageReport` of the database.

    Args:
        database: of the accounts.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, query: UsageQuery) -> UsagePage:
        """Return sums; see `UsageReport`."""
        # The order that is shown, whatever order was asked for.
        dimensions: tuple[Dimension, ...] = tuple(each for each in DIMENSIONS if each in query.group_by)
        limit = min(query.limit, MAX_ROWS)
        async with self._database.reading() as connection:
            statement = _select(query, dimensions, await _choose(connection, query)).limit(limit + 1)
            rows = (await connection.execute(statement)).all()
            sums = await _with_names(connection, [_to_sum(dimensions, row) for row in rows[:limit]])
        after = _encode_cursor(rows[limit - 1][: len(dimensions)]) if len(rows) > limit else None
        return UsagePage(sums=sums, after=after)


async def _choose(connection: AsyncConnection, query: UsageQuery) -> list[ColumnElement[bool]]:
    """Return what rows must be to be asked for."""
    chosen: list[ColumnElement[bool]] = []
    tenant_id = query.tenant_id
    if tenant_id is None and query.tenant is not None:
        tenant_id = await choose_tenant(connection, query.tenant)
    if tenant_id is not None:
        chosen.append(usage.c.tenant_id == tenant_id)
    if query.key is not None:
        chosen.append(usage.c.key_id == await choose_key(connection, query.key, tenant_id=tenant_id))
    if query.model is not None:
        if query.served is not None:
            await check_model(connection, query.model, served=query.served, tenant_id=query.tenant_id)
        chosen.append(usage.c.model == query.model)
    return chosen


async def _with_names(connection: AsyncConnection, sums: Sequence[UsageSum]) -> tuple[UsageSum, ...]:
    tenants = await read_tenant_names(connection, _ids_of("tenant", sums))
    keys = await read_key_names(connection, _ids_of("key", sums))
    named: list[UsageSum] = []
    for each in sums:
        key = keys.get(str(each.group.get("key")))
        named.append(
            structs.replace(
                each,
                tenant_name=tenants.get(str(each.group.get("tenant"))),
                key_name=None if key is None else key.name,
                key_prefix=None if key is None else key.prefix,
            )
        )
    return tuple(named)


def _ids_of(dimension: Dimension, sums: Sequence[UsageSum]) -> set[str]:
    return {str(each.group[dimension]) for each in sums if each.group.get(dimension)}


def _select(query: UsageQuery, dimensions: Sequence[Dimension], chosen: Sequence[ColumnElement[bool]]) -> Select[Any]:
    columns = [_COLUMNS[dimension] for dimension in dimensions]
    statement = (
        select(*columns, *_SUMS)
        .select_from(usage)
        .where(usage.c.started_at >= query.start * 1000, usage.c.started_at < query.end * 1000, *chosen)
        .having(func.count() > 0)
    )
    if columns:
        statement = statement.group_by(*columns).order_by(*columns)
    if query.after is not None:
        statement = statement.where(tuple_(*columns) > tuple_(*_decode_cursor(query.after, dimensions)))
    return statement


def _to_sum(dimensions: Sequence[Dimension], row: Sequence[Any]) -> UsageSum:
    values = dict(zip(dimensions, row, strict=False))
    if "day" in values:
        values["day"] = int(values["day"]) * DAY_SECONDS
    # PostgreSQL adds whole numbers up to decimals.
    requests, input_tokens, output_tokens, cached, reasoning, cost = (int(each) for each in row[len(dimensions) :])
    return UsageSum(
        group=values,
        requests=requests,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
        cost_micros=cost,
    )


def _encode_cursor(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(list(values))).decode().rstrip("=")


def _decode_cursor(cursor: str, dimensions: Sequence[Dimension]) -> list[str | int]:
    try:
        values = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[str | int])
    except (ValueError, msgspec.DecodeError):
        values = []
    kinds = [int if each == "day" else str for each in dimensions]
    if not dimensions or [type(each) for each in values] != kinds or not all(map(_can_be_in, values)):
        raise HeadraceError(ErrorCode.INVALID_REQUEST, "the page is none of this report", param="page")
    return values


def _can_be_in(value: str | int) -> bool:
    """Tell whether a database takes a value at all: a client may have made it up."""
    return NUL not in value if isinstance(value, str) else 0 <= value <= _LAST_DAY

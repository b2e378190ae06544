"""A `QuotaStore` in Redis."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import structs

from headrace.accounts.quota.base import (
    Amount,
    Counter,
    Granted,
    LimitKind,
    Peeked,
    Refused,
    Reservation,
    Settlement,
    Spent,
    Standing,
    Subject,
    Unseeded,
    Verdict,
)
from headrace.accounts.quota.deciding import MinuteStanding, to_rate_limits
from headrace.accounts.quota.memory import LEASE_SECONDS
from headrace.accounts.quota.periods import DAY_SECONDS, bounds_of, day_of, month_of, seconds_left
from headrace.accounts.quota.redis.scripts import Scripts
from headrace.schema.caller import RateLimits
from headrace.schema.settings import RedisSettings
from headrace.transport.redis.client import open_client

CONNECTIONS = 16
PREFIX = "headrace:quota:{%s}:"


class RedisQuotaStore:
    """A `QuotaStore` that all gateways share.

    Args:
        settings: where Redis is; the URL must not be empty.
        lease_seconds: how long a lease lives without being renewed.
        clock: Unix seconds, for periods around now.
        redis_time: count by the time of Redis, since the clocks of replicas differ; else by `clock`.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float],
        redis_time: bool = True,
    ) -> None:
        self._scripts = Scripts(open_client(settings, connections=CONNECTIONS), connections=CONNECTIONS)
        self._lease_ms = round(lease_seconds * 1000)
        self._clock = clock
        self._redis_time = redis_time

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Reserve from all limits, or from none; see `QuotaStore`."""
        arguments = self._arguments() | {
            "request_id": reservation.request_id,
            "owner": reservation.owner,
            "tokens": reservation.estimate.tokens,
            "cost": reservation.estimate.cost,
            "subjects": [_pack_subject(subject) for subject in reservation.subjects],
        }
        answer = await self._scripts.run("reserve", _prefix(reservation.tenant_id), arguments)
        match _unpack(answer):
            case ["granted", standings]:
                return Granted(_read_standings(reservation.subjects, standings))
            case ["unseeded", counters]:
                return Unseeded(tuple(Counter(subject, period) for subject, period in counters))
            case ["refused", kind, subject, limit, wait, now, standings]:
                return Refused(
                    kind=LimitKind(kind),
                    subject=subject,
                    limit=limit,
                    retry_after_seconds=None if wait < 0 else _wait_seconds(LimitKind(kind), wait, now / 1000),
                    rate_limits=_read_standings(reservation.subjects, standings),
                )
            case other:
                raise AssertionError(f"the script answered {other!r}")

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Replace reservations by what was used; see `QuotaStore`."""
        ends: dict[str, list[tuple[str, str, int, int]]] = {}
        for each in settlements:
            end = (each.request_id, each.owner, each.used.tokens, each.used.cost)
            ends.setdefault(each.tenant_id, []).append(end)
        await self._run_for_tenants("settle", {tenant: {"ends": items} for tenant, items in ends.items()})

    async def renew(self, leases: Sequence[Reservation]) -> None:
        """Hold on to leases; see `QuotaStore`."""
        items: dict[str, list[Any]] = {}
        for lease in leases:
            names = [subject.name for subject in lease.subjects]
            item = (lease.request_id, lease.owner, lease.estimate.tokens, lease.estimate.cost, names)
            items.setdefault(lease.tenant_id, []).append(item)
        await self._run_for_tenants("renew", {tenant: {"leases": packed} for tenant, packed in items.items()})

    async def seed(self, tenant_id: str, used: Sequence[tuple[Counter, Amount]]) -> None:
        """Say what budgets have used; see `QuotaStore`."""
        items = [(counter.subject, counter.period, amount.tokens, amount.cost) for counter, amount in used]
        await self._run_for_tenants("seed", {tenant_id: {"used": items}})

    async def look(self, tenant_id: str, subject: str) -> Standing:
        """Return where a subject stands; see `QuotaStore`."""
        answer = await self._scripts.run("look", _prefix(tenant_id), self._arguments() | {"subject": subject})
        found = _unpack(answer)
        return Standing(
            running=found["running"],
            requests=found["requests"],
            tokens=found["tokens"],
            day=Amount(*found["day"]) if "day" in found else None,
            month=Amount(*found["month"]) if "month" in found else None,
        )

    async def peek(self, tenant_id: str, subject: str) -> Peeked:
        """Return what a subject has taken; see `QuotaStore`."""
        answer = await self._scripts.run("peek", _prefix(tenant_id), self._arguments() | {"subject": subject})
        found = _unpack(answer)
        (requests, requests_reset), (tokens, tokens_reset) = found["requests"], found["tokens"]
        return Peeked(
            running=found["running"],
            requests=requests,
            requests_reset_seconds=requests_reset / 1000,
            tokens=tokens,
            tokens_reset_seconds=tokens_reset / 1000,
            day=_read_spent(found["day"]),
            month=_read_spent(found["month"]),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._scripts.close()

    async def _run_for_tenants(self, name: str, arguments: dict[str, dict[str, Any]]) -> None:
        if arguments:
            calls = [(_prefix(tenant), self._arguments() | own) for tenant, own in arguments.items()]
            await self._scripts.run_all(name, calls)

    def _arguments(self) -> dict[str, Any]:
        now = self._clock()
        days = [day_of(now + offset * DAY_SECONDS) for offset in (-1, 0, 1)]
        months = sorted({month_of(now + offset * DAY_SECONDS) for offset in (-1, 0, 1)})
        periods = [(name, *(round(bound * 1000) for bound in bounds_of(name))) for name in (*days, *months)]
        return {"now": 0 if self._redis_time else round(now * 1000), "lease_ms": self._lease_ms, "periods": periods}


def _prefix(tenant_id: str) -> str:
    return PREFIX % tenant_id


def _unpack(answer: bytes | int) -> Any:
    return msgspec.msgpack.decode(answer if isinstance(answer, bytes) else b"")


def _pack_subject(subject: Subject) -> dict[str, Any]:
    limits = {name: value for name, value in structs.asdict(subject.limits).items() if value is not None}
    return {"name": subject.name} | limits


def _read_spent(found: Sequence[int]) -> Spent:
    used, used_cost, reserved, reserved_cost = found
    return Spent(used=None if used < 0 else Amount(used, used_cost), reserved=Amount(reserved, reserved_cost))


def _read_standings(subjects: Sequence[Subject], standings: Sequence[Sequence[int]]) -> RateLimits:
    return to_rate_limits(
        [
            MinuteStanding(
                limits=subject.limits,
                requests=requests,
                requests_reset_seconds=requests_reset / 1000,
                tokens=tokens,
                tokens_reset_seconds=tokens_reset / 1000,
            )
            for subject, (requests, requests_reset, tokens, tokens_reset) in zip(subjects, standings, strict=True)
        ]
    )


def _wait_seconds(kind: LimitKind, wait_ms: int, now: float) -> float:
    match kind:
        case LimitKind.CONCURRENT | LimitKind.REQUESTS_PER_MINUTE | LimitKind.TOKENS_PER_MINUTE:
            return wait_ms / 1000
        case LimitKind.TOKENS_PER_DAY:
            return seconds_left(day_of(now), now)
        case LimitKind.TOKENS_PER_MONTH | LimitKind.COST_PER_MONTH:
            return seconds_left(month_of(now), now)

"""Doubles for what the metering stands on: a database that goes away, limits that a test names, a clock."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from headrace.accounts.ledger.base import MemoryUsageStore, UsageRow
from headrace.accounts.ledger.journal import Journal
from headrace.accounts.ledger.ledger import UsageLedger
from headrace.accounts.limits import UNLIMITED, CallerLimits
from headrace.accounts.metering.recovering import RecoveryPatience, WordRecovery
from headrace.accounts.metering.settling import Settling
from headrace.accounts.metering.source import MeteredSource, MeteringParts
from headrace.accounts.prices import PriceTable
from headrace.accounts.quota.base import (
    Amount,
    Counter,
    LimitKind,
    Peeked,
    QuotaStore,
    QuotaUnavailableError,
    Reservation,
    Settlement,
    Standing,
    Verdict,
)
from headrace.accounts.quota.memory import MemoryQuotaStore
from headrace.accounts.quota.quota import Quota
from headrace.scheduler.base import GenerationSource
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Usage
from headrace.schema.settings import PriceSettings
from headrace.transport.last_words import LastWords
from tests.support.recorders import Recorder
from tests.support.values import fresh_name

NO_PATIENCE = RecoveryPatience(word_seconds=0.0)


class FlakyUsageStore(Recorder):
    """A store of rows that can be away, and that refuses rows that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MemoryUsageStore()
        self.is_away = False
        self.bad_ids: set[str] = set()
        self.transactions: list[int] = []

    @property
    def rows(self) -> dict[str, UsageRow]:
        return self.inner.rows

    async def insert(self, rows: Sequence[UsageRow]) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            self.changed()
            raise HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, "away")
        if any(row.request_id in self.bad_ids for row in rows):
            raise ValueError("a row that no column takes")
        self.transactions.append(len(rows))
        await self.inner.insert(rows)
        self.changed()

    async def used(self, counters: Sequence[Counter]) -> list[Amount]:
        if self.is_away:
            raise HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, "away")
        sums: list[Amount] = []
        for counter in counters:
            mine = [
                row for row in self.rows.values() if counter.subject in (f"key:{row.key_id}", f"tenant:{row.tenant_id}")
            ]
            tokens = sum(row.input_tokens + row.output_tokens for row in mine)
            sums.append(Amount(tokens, sum(row.cost_micros for row in mine)))
        return sums


class FlakyQuotaStore:
    """A store of quotas that can be away, and that can do what it is asked and die before it says so."""

    def __init__(self, inner: MemoryQuotaStore) -> None:
        self.inner = inner
        self.is_away = False
        self.is_mute = False

    async def _ask(self) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise QuotaUnavailableError("away")

    def _answer(self) -> None:
        if self.is_mute:
            raise QuotaUnavailableError("no answer")

    async def reserve(self, reservation: Reservation) -> Verdict:
        await self._ask()
        verdict = await self.inner.reserve(reservation)
        self._answer()
        return verdict

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._ask()
        await self.inner.settle(settlements)
        self._answer()

    async def renew(self, leases: Sequence[Reservation]) -> None:
        await self._ask()
        await self.inner.renew(leases)
        self._answer()

    async def seed(self, tenant_id: str, used: Sequence[tuple[Counter, Amount]]) -> None:
        await self._ask()
        await self.inner.seed(tenant_id, used)
        self._answer()

    async def look(self, tenant_id: str, subject: str) -> Standing:
        await self._ask()
        return await self.inner.look(tenant_id, subject)

    async def peek(self, tenant_id: str, subject: str) -> Peeked:
        await self._ask()
        return await self.inner.peek(tenant_id, subject)

    async def close(self) -> None:
        await self.inner.close()


class GivenLimits:
    """A `LimitsDirectory` that says the same of everybody."""

    def __init__(self, limits: CallerLimits = UNLIMITED) -> None:
        self.limits = limits

    async def limits_of(self, caller: Caller) -> CallerLimits:
        return self.limits


class MeteringRecorder:
    """A `MeteringObserver` that keeps what it is told."""

    def __init__(self) -> None:
        self.refused: list[LimitKind] = []
        self.settled: list[tuple[str, Usage]] = []
        self.away: list[bool] = []
        self.backlog: list[int] = []

    def reservation_refused(self, kind: LimitKind) -> None:
        self.refused.append(kind)

    def generation_settled(self, model: str, usage: Usage) -> None:
        self.settled.append((model, usage))

    def quota_store_changed(self, *, is_away: bool) -> None:
        self.away.append(is_away)

    def ledger_backlog_changed(self, rows: int) -> None:
        self.backlog.append(rows)


class Meter:
    """A metered source with all its parts, over stores that a test can look into."""

    def __init__(
        self,
        inner: GenerationSource,
        folder: Path,
        *,
        limits: CallerLimits = UNLIMITED,
        store: QuotaStore | None = None,
        record_anonymous: bool = False,
        owner: str | None = None,
        rows: FlakyUsageStore | None = None,
        words: LastWords | None = None,
        patience: RecoveryPatience = NO_PATIENCE,
    ) -> None:
        self.observer = MeteringRecorder()
        self.limits = GivenLimits(limits)
        self.store: QuotaStore = store or MemoryQuotaStore()
        self.rows = rows or FlakyUsageStore()
        self.prices = PriceTable({"demo": PriceSettings(input=1.0, output=10.0, cached=0.5)})
        self.quota = Quota(
            self.store, baseline=self.rows, owner=owner or fresh_name("gateway"), observers=[self.observer]
        )
        self.journal = Journal(folder, self.quota.owner)
        self.ledger = UsageLedger(
            self.journal,
            self.rows,
            recovery=WordRecovery(self._recover, words, patience=patience),
            observers=[self.observer],
            batch_seconds=0.0,
        )
        self.settling = Settling(self.quota, self.ledger, self.prices, observers=[self.observer])
        self.source = MeteredSource(
            inner,
            MeteringParts(
                limits=self.limits,
                quota=self.quota,
                ledger=self.ledger,
                prices=self.prices,
                settling=self.settling,
            ),
            context_of={"demo": 100}.get,
            record_anonymous=record_anonymous,
        )

    async def _recover(self, name: str, lost: Sequence[UsageRow]) -> Sequence[UsageRow]:
        return await self.settling.recover(name, lost)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Meter"]:
        await self.ledger.start()
        try:
            yield self
        finally:
            await self.settling.close()
            await self.ledger.close(seconds=1.0 if self.rows.is_away else 10.0)
            await self.quota.close()

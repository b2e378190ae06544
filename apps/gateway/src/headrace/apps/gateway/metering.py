"""Puts the metering of a gateway together: between the HTTP side and whatever generates."""

import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from headrace.accounts.base import LimitsDirectory
from headrace.accounts.database import Database
from headrace.accounts.ledger.base import UsageRow
from headrace.accounts.ledger.journal import Journal
from headrace.accounts.ledger.ledger import UsageLedger
from headrace.accounts.ledger.store import DatabaseUsageStore
from headrace.accounts.metering.baseline import LedgerBaseline
from headrace.accounts.metering.recovering import RecoveryPatience, WordRecovery
from headrace.accounts.metering.settling import Settling
from headrace.accounts.metering.source import MeteredSource, MeteringParts
from headrace.accounts.metrics import MeteringMetrics
from headrace.accounts.observer import MeteringObserver
from headrace.accounts.prices import PriceTable
from headrace.accounts.quota.base import QuotaStore
from headrace.accounts.quota.fallback import FallbackQuotaStore
from headrace.accounts.quota.memory import MemoryQuotaStore
from headrace.accounts.quota.quota import Quota
from headrace.accounts.quota.redis import RedisQuotaStore
from headrace.accounts.quota.remaining import LimitsReport, QuotaLimitsReport
from headrace.scheduler.base import GenerationSource
from headrace.schema.settings import Settings, SettingsError
from headrace.transport.last_words import LastWords
from headrace.transport.redis import RedisLastWords
from headrace.transport.retention.base import LEASE_SECONDS

# Another gateway sees that the lease has run out a moment later, and then has to take the generation up.
ADOPTION_SECONDS = 2 * LEASE_SECONDS
FOLDER = "usage"


@dataclass(frozen=True, kw_only=True)
class Metering:
    """The metering of one gateway, not started.

    Attributes:
        source: what the HTTP side submits to.
        quota: reserves and settles.
        ledger: records.
        settling: ends generations.
        prices: may be replaced while it runs.
        words: what workers have left of generations whose gateway is gone.
        limits: knows what is left of limits.
    """

    source: MeteredSource
    quota: Quota
    ledger: UsageLedger
    settling: Settling
    prices: PriceTable
    words: LastWords | None
    limits: LimitsReport

    async def start(self) -> None:
        """Begin to renew and to write, and take over what dead gateways have left.

        Raises:
            OSError: the folder of the journal can't be used.
        """
        await self.ledger.start()
        self.quota.start()
        self.settling.start()

    def follow(self, settings: Settings) -> None:
        """Go by the prices of new settings from now on."""
        self.prices.replace(settings.prices)

    async def close(self) -> None:
        """Settle and write what ended, as far as that can be done in a few seconds; the journal keeps the rest."""
        await self.settling.close()
        await self.ledger.close()
        await self.quota.close()
        if self.words is not None:
            await self.words.close()


def build_metering(
    settings: Settings,
    inner: GenerationSource,
    *,
    database: Database,
    limits: LimitsDirectory,
    registry: CollectorRegistry,
    context_of: Callable[[str], int | None],
    answered_by: Callable[[str], Sequence[str]],
) -> Metering:
    """Build the metering around a source.

    Args:
        settings: of the process.
        inner: runs generations.
        database: of the accounts, with the ledger.
        limits: what each caller may use.
        registry: where facts are counted.
        context_of: the context length of a served name, where it is known.
        answered_by: who may answer to a served name, where those have names of their own.

    Raises:
        SettingsError: a setting can't be used.
    """
    metering = settings.metering
    observer = MeteringMetrics(registry)
    owner = f"{socket.gethostname().split('.')[0]}-{secrets.token_hex(4)}"
    store = DatabaseUsageStore(database)
    prices = PriceTable(settings.prices)
    journal = Journal(find_journal_folder(settings), owner, syncs=metering.journal_sync == "always")
    words = _open_words(settings)

    async def settle(name: str, rows: Sequence[UsageRow]) -> Sequence[UsageRow]:
        return await settling.recover(name, rows)

    recovery = WordRecovery(settle, words, patience=_patience(settings))
    ledger = UsageLedger(journal, store, recovery=recovery, observers=[observer])
    counters, baseline = _open_store(settings, observer), LedgerBaseline(store, ledger)
    quota = Quota(
        counters,
        baseline=baseline,
        owner=owner,
        lease_seconds=metering.lease_seconds,
        observers=[observer],
    )
    settling = Settling(quota, ledger, prices, observers=[observer], seen_seconds=metering.note_seconds)
    parts = MeteringParts(limits=limits, quota=quota, ledger=ledger, prices=prices, settling=settling)
    source = MeteredSource(
        inner,
        parts,
        context_of=context_of,
        answered_by=answered_by,
        assumed_output_tokens=metering.assumed_output_tokens,
        record_anonymous=metering.record_anonymous,
    )
    return Metering(
        source=source,
        quota=quota,
        ledger=ledger,
        settling=settling,
        prices=prices,
        words=words,
        limits=QuotaLimitsReport(counters, baseline=baseline, limits=limits),
    )


def find_journal_folder(settings: Settings) -> Path:
    """Return where the journals of all gateways of this machine are."""
    given = settings.metering.journal_folder
    return Path(given) if given else Path(settings.storage.folder) / FOLDER


def check_journal_folder(settings: Settings) -> None:
    """Make the folder of the journals. It blocks, so it is called before there is an event loop.

    Raises:
        SettingsError: it can't be used.
    """
    folder = find_journal_folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".{secrets.token_hex(4)}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise SettingsError([f"metering.journal_folder: {folder} can't be written: {error.strerror}"]) from None


def _open_store(settings: Settings, observer: MeteringObserver) -> QuotaStore:
    seconds = settings.metering.lease_seconds
    local = MemoryQuotaStore(lease_seconds=seconds)
    if not settings.redis.url:
        return local
    try:
        shared = RedisQuotaStore(settings.redis, lease_seconds=seconds, clock=time.time)
    except ValueError as error:
        raise SettingsError([str(error)]) from None
    return FallbackQuotaStore(shared, local, observers=[observer])


def _open_words(settings: Settings) -> LastWords | None:
    if not _shares_redis(settings):
        return None
    try:
        return RedisLastWords(settings.redis)
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def _patience(settings: Settings) -> RecoveryPatience:
    return RecoveryPatience(
        word_seconds=settings.metering.last_word_seconds,
        adoption_seconds=ADOPTION_SECONDS if _shares_redis(settings) else 0.0,
    )


def _shares_redis(settings: Settings) -> bool:
    """Tell whether gateways and workers are processes of their own that share a Redis."""
    return bool(settings.redis.url) and not settings.broker.url.startswith("memory:")

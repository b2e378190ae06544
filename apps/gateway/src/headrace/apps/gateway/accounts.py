"""Opens the accounts of a gateway: before there is an event loop, since files are read and tables are made."""

from dataclasses import dataclass

from headrace.accounts.database import Database
from headrace.accounts.directory import CachedDirectory, RedisAnnouncements
from headrace.accounts.directory.lookup import DatabaseLookup
from headrace.accounts.ledger.report import DatabaseUsageReport
from headrace.accounts.store import StoreAdmin
from headrace.accounts.store.store import tell_nobody
from headrace.apps.gateway.accounts_database import open_database
from headrace.apps.gateway.metering import check_journal_folder
from headrace.gateway.app import GatewayAccounts
from headrace.schema.settings import Settings, SettingsError

LEAST_ADMIN_KEY_LENGTH = 16
ACTOR = "gateway"


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """The accounts of one gateway, not started.

    Attributes:
        settings: of the process.
        database: at this version's tables.
        directory: knows the callers, and their limits.
        admin: changes tenants and keys.
        announcements: tells the other gateways, where there is a Redis.
    """

    settings: Settings
    database: Database
    directory: CachedDirectory
    admin: StoreAdmin
    announcements: RedisAnnouncements | None

    @property
    def parts(self) -> GatewayAccounts:
        """What the HTTP side needs."""
        return GatewayAccounts(
            callers=self.directory,
            admin_for=self.admin.as_actor,
            admin_key=self.settings.accounts.admin_key,
            usage=DatabaseUsageReport(self.database),
            currency=self.settings.metering.currency,
        )

    def start(self) -> None:
        """Begin to watch for changes."""
        self.directory.start()
        if self.announcements is not None:
            self.announcements.start(self.directory.look_now)

    async def close(self) -> None:
        """Stop to watch, and close the connections."""
        if self.announcements is not None:
            await self.announcements.close()
        await self.directory.close()
        await self.database.close()


def open_accounts(settings: Settings) -> Accounts | None:
    """Open the accounts, and bring their database to this version; None where they are off.

    Raises:
        SettingsError: a setting can't be used.
        HeadraceError: `accounts_unavailable`: the database can't be reached or used.
    """
    accounts = settings.accounts
    if not accounts.enabled:
        return None
    if accounts.admin_key is not None and len(accounts.admin_key.reveal()) < LEAST_ADMIN_KEY_LENGTH:
        raise SettingsError([f"accounts.admin_key: it must have {LEAST_ADMIN_KEY_LENGTH} characters or more"])
    check_journal_folder(settings)
    address, pepper = open_database(settings)
    announcements = _open_announcements(settings)
    database = Database(address)
    directory = CachedDirectory(
        DatabaseLookup(database),
        pepper,
        cached_keys=accounts.cached_keys,
        poll_seconds=accounts.poll_seconds,
        stale_seconds=accounts.stale_seconds,
    )
    announce = tell_nobody if announcements is None else announcements.announce
    admin = StoreAdmin(database, pepper, actor=ACTOR, announce=announce)
    return Accounts(settings=settings, database=database, directory=directory, admin=admin, announcements=announcements)


def _open_announcements(settings: Settings) -> RedisAnnouncements | None:
    if not settings.redis.url:
        return None
    try:
        return RedisAnnouncements(settings.redis)
    except ValueError as error:
        raise SettingsError([str(error)]) from None

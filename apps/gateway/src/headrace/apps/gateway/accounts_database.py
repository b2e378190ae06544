"""Opens the database of the accounts, for the gateway, and for the command line, which needs nothing else of one."""

from headrace.accounts.database import DatabaseAddress, migrate_database, read_address
from headrace.accounts.pepper import read_pepper
from headrace.accounts.secrets import Pepper
from headrace.schema.settings import Settings, SettingsError


def open_database(settings: Settings) -> tuple[DatabaseAddress, Pepper]:
    """Return where the database is, at this version's tables, and what its hashes are keyed with.

    Raises:
        SettingsError: a setting can't be used.
        HeadraceError: `accounts_unavailable`: the database can't be reached or used.
    """
    try:
        address = read_address(settings.accounts, settings.storage)
        pepper = read_pepper(settings.accounts, settings.storage, address)
    except ValueError as error:
        raise SettingsError([str(error)]) from None
    migrate_database(address)
    return address, pepper

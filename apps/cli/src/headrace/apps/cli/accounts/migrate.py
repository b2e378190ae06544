"""`headrace accounts migrate`."""

import sys

from headrace.accounts.database import migrate_database, read_address
from headrace.apps.cli.accounts.run import BAD_ARGUMENTS, FAILED
from headrace.apps.cli.environment import read_environment
from headrace.process.config import read_settings
from headrace.process.logs import set_up_log
from headrace.schema.errors import HeadraceError


def migrate(config: str | None) -> int:
    """Run what is missing, and return the exit status."""
    try:
        settings = read_settings(config=config, environ=read_environment())
        set_up_log(settings.log)
        address = read_address(settings.accounts, settings.storage)
        before = migrate_database(address)
    except HeadraceError as error:
        sys.stderr.write(f"headrace accounts migrate: {error.message}\n")
        return FAILED
    except ValueError as error:
        sys.stderr.write(f"headrace accounts migrate: {error}\n")
        return BAD_ARGUMENTS
    stood = f"was at {before.current or 'nothing'}, and is now" if not before.is_current else "was already"
    sys.stdout.write(f"{address.shown} {stood} at {before.newest}.\n")
    return 0

"""Runs one command on the accounts, and prints what came of it."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.values import ApiKey, AuditEntry, IssuedKey, Page, Tenant
from headrace.apps.cli.accounts.door import go_in
from headrace.apps.cli.accounts.options import Door
from headrace.apps.cli.accounts.tables import make_audit_table, make_key_table, make_tenant_table
from headrace.apps.cli.environment import read_environment
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import SettingsError

FAILED = 1
BAD_ARGUMENTS = 2
# Lines for a file or a pipe are not folded for a terminal that is not there.
FILE_WIDTH = 240

Shown = Tenant | ApiKey | IssuedKey | Sequence[Tenant] | Sequence[ApiKey] | Sequence[AuditEntry] | str
T = TypeVar("T", Tenant, ApiKey, AuditEntry)


def run_on_accounts(
    name: str, make_door: Door, do: Callable[[AccountsAdmin], Awaitable[Shown]], *, as_json: bool
) -> int:
    """Do something, print what it returns, and return the exit status.

    Args:
        name: of the command, for messages.
        make_door: which way in.
        do: what to do; it may raise ValueError for what was typed wrongly.
        as_json: print for a script.
    """

    async def work(admin: AccountsAdmin) -> None:
        _print(await do(admin), as_json=as_json)

    try:
        go_in(make_door, read_environment(), work)
    except HeadraceError as error:
        sys.stderr.write(f"headrace {name}: {error.message}\n")
        return FAILED
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"headrace {name}: {error}\n")
        return BAD_ARGUMENTS
    return 0


async def read_all(read: Callable[[str | None], Awaitable[Page[T]]]) -> list[T]:
    """Return all pages of a list.

    Args:
        read: returns the page after a place.
    """
    found: list[T] = []
    place: str | None = None
    while True:
        page = await read(place)
        found += page.data
        place = page.next
        if place is None:
            return found


def _print(shown: Shown, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown)).decode() + "\n")
        return
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
    match shown:
        case str():
            console.print(shown)
        case IssuedKey():
            console.print(_make_table([shown.key]))
            console.print("\nThe key, which is shown this once:\n")
            # As it is, without wrapping: it is there to be copied.
            console.print(f"  {shown.secret}\n", soft_wrap=True)
        case Tenant():
            console.print(_make_table([shown]))
        case ApiKey():
            console.print(_make_table([shown]))
        case _:
            console.print(_make_table(shown) if shown else "There are none.")


def _make_table(rows: Sequence[Tenant] | Sequence[ApiKey] | Sequence[AuditEntry]) -> Table:
    tenants = [row for row in rows if isinstance(row, Tenant)]
    keys = [row for row in rows if isinstance(row, ApiKey)]
    entries = [row for row in rows if isinstance(row, AuditEntry)]
    if tenants:
        return make_tenant_table(tenants)
    return make_key_table(keys, now=datetime.now(UTC)) if keys else make_audit_table(entries)

"""Runs one command on the accounts, and prints what came of it."""

import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.values import ApiKey, AuditEntry, IssuedKey, Page, Tenant
from headrace.apps.cli.accounts.door import go_in
from headrace.apps.cli.accounts.limits_table import make_limits_table
from headrace.apps.cli.accounts.options import Door
from headrace.apps.cli.accounts.showing import ShownKey, ShownTenant
from headrace.apps.cli.accounts.tables import make_audit_table, make_key_table, make_tenant_table
from headrace.apps.cli.environment import read_environment
from headrace.gateway.admin.answers import KeyAnswer, TenantAnswer, answer_key, answer_tenant
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import SettingsError

FAILED = 1
BAD_ARGUMENTS = 2
# Lines for a file or a pipe are not folded for a terminal that is not there.
FILE_WIDTH = 240
UNKNOWN = "nobody serves {names} now: requests for that get 404 until somebody does"

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

    async def work(admin: AccountsAdmin, served: Collection[str] | None) -> None:
        shown = await do(admin)
        answer = shown if served is None else _answer(shown, served)
        _print(answer, as_json=as_json)
        if unknown := _find_unknown(answer):
            sys.stderr.write(f"headrace {name}: {UNKNOWN.format(names=', '.join(unknown))}\n")

    try:
        go_in(make_door, read_environment(), work)
    except HeadraceError as error:
        sys.stderr.write(f"headrace {name}: {error.message}\n")
        return FAILED
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"headrace {name}: {error}\n")
        return BAD_ARGUMENTS
    return 0


def _answer(shown: Shown, served: Collection[str]) -> Shown:
    """Return what a gateway would have said."""
    match shown:
        case IssuedKey():
            return IssuedKey(key=answer_key(shown.key, served), secret=shown.secret)
        case Tenant():
            return answer_tenant(shown, served)
        case ApiKey():
            return answer_key(shown, served)
        case str():
            return shown
        case _:
            return _answer_all(shown, served)


def _answer_all(
    shown: Sequence[Tenant] | Sequence[ApiKey] | Sequence[AuditEntry], served: Collection[str]
) -> Sequence[Tenant] | Sequence[ApiKey] | Sequence[AuditEntry]:
    tenants = [answer_tenant(each, served) for each in shown if isinstance(each, Tenant)]
    keys = [answer_key(each, served) for each in shown if isinstance(each, ApiKey)]
    return tenants or keys or shown


def _find_unknown(shown: Shown) -> Sequence[str]:
    asked = shown.key if isinstance(shown, IssuedKey) else shown
    return asked.unknown_models if isinstance(asked, KeyAnswer | TenantAnswer) else ()


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
            _print_left(console, shown)
        case ApiKey():
            console.print(_make_table([shown]))
            _print_left(console, shown)
        case _:
            console.print(_make_table(shown) if shown else "There are none.")


def _print_left(console: Console, shown: Tenant | ApiKey) -> None:
    if isinstance(shown, ShownTenant | ShownKey) and shown.left:
        console.print()
        console.print(make_limits_table(shown.left))


def _make_table(rows: Sequence[Tenant] | Sequence[ApiKey] | Sequence[AuditEntry]) -> Table:
    tenants = [row for row in rows if isinstance(row, Tenant)]
    keys = [row for row in rows if isinstance(row, ApiKey)]
    entries = [row for row in rows if isinstance(row, AuditEntry)]
    if tenants:
        return make_tenant_table(tenants)
    return make_key_table(keys, now=datetime.now(UTC)) if keys else make_audit_table(entries)

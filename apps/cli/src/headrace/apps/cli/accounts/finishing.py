"""The last line of each command on accounts. What it needs is imported when it is called."""

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import typer

from headrace.apps.cli.accounts.options import Door


def finish(name: str, do: Callable[[Any], Awaitable[Any]], door: Door, *, json: bool) -> NoReturn:
    """Do something with the accounts, print what comes of it, and end with the exit status.

    Args:
        name: of the command, for messages.
        do: what to do, with an `AccountsAdmin`.
        door: which way in.
        json: print for a script.
    """
    from headrace.apps.cli.accounts.run import run_on_accounts

    raise typer.Exit(run_on_accounts(name, door, do, as_json=json))

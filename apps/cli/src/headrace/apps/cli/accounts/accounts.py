"""`headrace accounts`: the database of the accounts, and who changed what."""

from typing import Annotated

import typer

from headrace.apps.cli.accounts.finishing import finish
from headrace.apps.cli.accounts.options import Door
from headrace.apps.cli.options import ConfigOption, JsonOption
from headrace.apps.cli.spreading import spread

app = typer.Typer(no_args_is_help=True, help="The database of the accounts, and who changed what.")


@app.command()
def migrate(
    *,
    config: ConfigOption = None,
) -> None:
    """Bring the database to this version's tables; every gateway does the same when it starts."""
    from headrace.apps.cli.accounts.migrate import migrate as run

    raise typer.Exit(run(config))


@app.command()
@spread
def audit(
    tenant: Annotated[str | None, typer.Argument(help="A tenant's id or name; without it, all")] = None,
    *,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest changes")] = 50,
    door: Door,
    json: JsonOption = False,
) -> None:
    """Show who changed what, the newest first."""
    from headrace.apps.cli.accounts.doing import list_audit

    finish("accounts", list_audit(tenant, count), door, json=json)

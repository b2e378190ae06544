"""`headrace accounts`: the database of the accounts, and who changed what."""

from typing import Annotated

import typer

from headrace.apps.cli.accounts import options as given

app = typer.Typer(no_args_is_help=True, help="The database of the accounts, and who changed what.")


@app.command()
def migrate(*, config: given.ConfigOption = None) -> None:
    """Bring the database to this version's tables; every gateway does the same when it starts."""
    from headrace.apps.cli.accounts.migrate import migrate as run

    raise typer.Exit(run(config))


@app.command()
def audit(
    tenant: Annotated[str | None, typer.Argument(help="A tenant's id or name; without it, all")] = None,
    *,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest changes")] = 50,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Show who changed what, the newest first."""
    from headrace.apps.cli.accounts.doing import list_audit
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("accounts", door, list_audit(tenant, count), as_json=json))

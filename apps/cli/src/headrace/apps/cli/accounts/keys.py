"""`headrace keys`. Everything but typer is imported when a command is called."""

from typing import Annotated

import typer

from headrace.apps.cli.accounts import options as given

app = typer.Typer(no_args_is_help=True, help="Keys of tenants.")
KeyArgument = Annotated[str, typer.Argument(help="Its id, or how it begins: hr_XXXXXXXXXX")]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="The tenant's id or name")],
    *,
    name: Annotated[str, typer.Option(help="What it is for, without spaces")] = "default",
    expires: given.ExpiresOption = None,
    models: given.ModelsOption = None,
    max_priority: given.PriorityOption = None,
    local_only: given.LocalOption = None,
    retains: given.RetainsOption = None,
    rpm: given.RpmOption = None,
    tpm: given.TpmOption = None,
    concurrent: given.ConcurrentOption = None,
    tokens_per_day: given.TokensPerDayOption = None,
    tokens_per_month: given.TokensPerMonthOption = None,
    cost_per_month: given.CostPerMonthOption = None,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Make a key, and show it this once."""
    from headrace.apps.cli.accounts.doing import create_key
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts
    from headrace.apps.cli.accounts.typed import GivenLimits, GivenRights

    rights = GivenRights(models=models, max_priority=max_priority, local_only=local_only, retains=retains)
    limits = GivenLimits(
        rpm=rpm,
        tpm=tpm,
        concurrent=concurrent,
        tokens_per_day=tokens_per_day,
        tokens_per_month=tokens_per_month,
        cost_per_month=cost_per_month,
    )
    door = Door(url=url, database=database, config=config)
    do = create_key(tenant, name, expires, rights, limits)
    raise typer.Exit(run_on_accounts("keys", door, do, as_json=json))


@app.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Argument(help="A tenant's id or name; without it, all keys")] = None,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """List keys."""
    from headrace.apps.cli.accounts.doing import list_keys
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("keys", door, list_keys(tenant), as_json=json))


@app.command()
def show(
    key: KeyArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Show a key, without its secret."""
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("keys", door, lambda admin: admin.find_key(key), as_json=json))


@app.command()
def update(
    key: KeyArgument,
    *,
    name: Annotated[str | None, typer.Option(help="A new name")] = None,
    expires: given.ExpiresOption = None,
    models: given.ModelsOption = None,
    max_priority: given.PriorityOption = None,
    local_only: given.LocalOption = None,
    retains: given.RetainsOption = None,
    rpm: given.RpmOption = None,
    tpm: given.TpmOption = None,
    concurrent: given.ConcurrentOption = None,
    tokens_per_day: given.TokensPerDayOption = None,
    tokens_per_month: given.TokensPerMonthOption = None,
    cost_per_month: given.CostPerMonthOption = None,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Change what is given of a key; the rest stays."""
    from headrace.apps.cli.accounts.doing import update_key
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts
    from headrace.apps.cli.accounts.typed import GivenLimits, GivenRights

    rights = GivenRights(models=models, max_priority=max_priority, local_only=local_only, retains=retains)
    limits = GivenLimits(
        rpm=rpm,
        tpm=tpm,
        concurrent=concurrent,
        tokens_per_day=tokens_per_day,
        tokens_per_month=tokens_per_month,
        cost_per_month=cost_per_month,
    )
    door = Door(url=url, database=database, config=config)
    do = update_key(key, name, expires, rights, limits)
    raise typer.Exit(run_on_accounts("keys", door, do, as_json=json))


@app.command()
def rotate(
    key: KeyArgument,
    *,
    overlap: Annotated[str, typer.Option(metavar="TIME", help="How long the old secret goes on: 15m, 7d")] = "0s",
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Give a key a new secret, and show it this once."""
    from headrace.apps.cli.accounts.doing import rotate_key
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("keys", door, rotate_key(key, overlap), as_json=json))


@app.command()
def revoke(
    key: KeyArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """End a key for ever, within a second."""
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("keys", door, lambda admin: admin.revoke_key(key), as_json=json))


@app.command()
def delete(
    key: KeyArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Remove a key from lists too. The audit log keeps what it was."""
    from headrace.apps.cli.accounts.doing import delete_key
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("keys", door, delete_key(key), as_json=json))

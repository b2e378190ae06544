"""`headrace tenants`. Everything but typer is imported when a command is called."""

from typing import Annotated

import typer

from headrace.apps.cli.accounts import options as given

app = typer.Typer(no_args_is_help=True, help="Tenants: who shares limits and a bill.")
TenantArgument = Annotated[str, typer.Argument(help="Its id or its name")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, without spaces")],
    *,
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
    """Make a tenant. Its limits are for all its keys together."""
    from headrace.apps.cli.accounts.doing import create_tenant
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
    raise typer.Exit(run_on_accounts("tenants", door, create_tenant(name, rights, limits), as_json=json))


@app.command("list")
def list_all(
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """List all tenants."""
    from headrace.apps.cli.accounts.doing import list_tenants
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("tenants", door, list_tenants, as_json=json))


@app.command()
def show(
    tenant: TenantArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Show a tenant."""
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("tenants", door, lambda admin: admin.find_tenant(tenant), as_json=json))


@app.command()
def update(
    tenant: TenantArgument,
    *,
    name: Annotated[str | None, typer.Option(help="A new name")] = None,
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
    """Change what is given of a tenant; the rest stays."""
    from headrace.apps.cli.accounts.doing import update_tenant
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
    raise typer.Exit(run_on_accounts("tenants", door, update_tenant(tenant, name, rights, limits), as_json=json))


@app.command()
def disable(
    tenant: TenantArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Stop all keys of a tenant, within a second, until it is enabled again."""
    from headrace.apps.cli.accounts.doing import set_disabled
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("tenants", door, set_disabled(tenant, True), as_json=json))


@app.command()
def enable(
    tenant: TenantArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Let the keys of a tenant work again."""
    from headrace.apps.cli.accounts.doing import set_disabled
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("tenants", door, set_disabled(tenant, False), as_json=json))


@app.command()
def delete(
    tenant: TenantArgument,
    *,
    url: given.UrlOption = None,
    database: given.DatabaseOption = False,
    config: given.ConfigOption = None,
    json: given.JsonOption = False,
) -> None:
    """Remove a tenant that is disabled, and its keys. The audit log keeps what it was."""
    from headrace.apps.cli.accounts.doing import delete_tenant
    from headrace.apps.cli.accounts.door import Door
    from headrace.apps.cli.accounts.run import run_on_accounts

    door = Door(url=url, database=database, config=config)
    raise typer.Exit(run_on_accounts("tenants", door, delete_tenant(tenant), as_json=json))

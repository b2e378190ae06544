"""`headrace tenants`. Everything but typer is imported when a command is called."""

from typing import Annotated

import typer

from headrace.apps.cli.accounts.finishing import finish
from headrace.apps.cli.accounts.options import Door, GivenLimits, GivenRights
from headrace.apps.cli.options import JsonOption
from headrace.apps.cli.spreading import spread

app = typer.Typer(no_args_is_help=True, help="Tenants: who shares limits and a bill.")
TenantArgument = Annotated[str, typer.Argument(help="Its id or its name")]


@app.command()
@spread
def create(
    name: Annotated[str, typer.Argument(help="Its name, without spaces")],
    *,
    rights: GivenRights,
    limits: GivenLimits,
    door: Door,
    json: JsonOption = False,
) -> None:
    """Make a tenant. Its limits are for all its keys together."""
    from headrace.apps.cli.accounts.doing import create_tenant

    finish("tenants", create_tenant(name, rights, limits), door, json=json)


@app.command("list")
@spread
def list_all(*, door: Door, json: JsonOption = False) -> None:
    """List all tenants."""
    from headrace.apps.cli.accounts.doing import list_tenants

    finish("tenants", list_tenants, door, json=json)


@app.command()
@spread
def show(tenant: TenantArgument, *, door: Door, json: JsonOption = False) -> None:
    """Show a tenant, and what is left of its limits."""
    from headrace.apps.cli.accounts.doing import show_tenant

    finish("tenants", show_tenant(tenant), door, json=json)


@app.command()
@spread
def update(
    tenant: TenantArgument,
    *,
    name: Annotated[str | None, typer.Option(help="A new name")] = None,
    rights: GivenRights,
    limits: GivenLimits,
    door: Door,
    json: JsonOption = False,
) -> None:
    """Change what is given of a tenant; the rest stays."""
    from headrace.apps.cli.accounts.doing import update_tenant

    finish("tenants", update_tenant(tenant, name, rights, limits), door, json=json)


@app.command()
@spread
def disable(tenant: TenantArgument, *, door: Door, json: JsonOption = False) -> None:
    """Stop all keys of a tenant, within a second, until it is enabled again."""
    from headrace.apps.cli.accounts.doing import set_disabled

    finish("tenants", set_disabled(tenant, True), door, json=json)


@app.command()
@spread
def enable(tenant: TenantArgument, *, door: Door, json: JsonOption = False) -> None:
    """Let the keys of a tenant work again."""
    from headrace.apps.cli.accounts.doing import set_disabled

    finish("tenants", set_disabled(tenant, False), door, json=json)


@app.command()
@spread
def delete(tenant: TenantArgument, *, door: Door, json: JsonOption = False) -> None:
    """Remove a tenant that is disabled, and its keys. The audit log keeps what it was."""
    from headrace.apps.cli.accounts.doing import delete_tenant

    finish("tenants", delete_tenant(tenant), door, json=json)

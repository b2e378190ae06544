"""`headrace keys`. Everything but typer is imported when a command is called."""

from typing import Annotated

import typer

from headrace.apps.cli.accounts.finishing import finish
from headrace.apps.cli.accounts.options import Door, ExpiresOption, GivenLimits, GivenRights
from headrace.apps.cli.options import JsonOption
from headrace.apps.cli.spreading import spread

app = typer.Typer(no_args_is_help=True, help="Keys of tenants.")
KeyArgument = Annotated[str, typer.Argument(help="Its id, its name, or how it begins: hr_XXXXXXXXXX")]


@app.command()
@spread
def create(
    tenant: Annotated[str, typer.Argument(help="The tenant's id or name")],
    *,
    name: Annotated[str, typer.Option(help="What it is for, without spaces")] = "default",
    expires: ExpiresOption = None,
    rights: GivenRights,
    limits: GivenLimits,
    door: Door,
    json: JsonOption = False,
) -> None:
    """Make a key, and show it this once."""
    from headrace.apps.cli.accounts.doing import create_key

    finish("keys", create_key(tenant, name, expires, rights, limits), door, json=json)


@app.command("list")
@spread
def list_all(
    tenant: Annotated[str | None, typer.Argument(help="A tenant's id or name; without it, all keys")] = None,
    *,
    door: Door,
    json: JsonOption = False,
) -> None:
    """List keys."""
    from headrace.apps.cli.accounts.doing import list_keys

    finish("keys", list_keys(tenant), door, json=json)


@app.command()
@spread
def show(key: KeyArgument, *, door: Door, json: JsonOption = False) -> None:
    """Show a key without its secret, and what is left of its limits."""
    from headrace.apps.cli.accounts.doing import show_key

    finish("keys", show_key(key), door, json=json)


@app.command()
@spread
def update(
    key: KeyArgument,
    *,
    name: Annotated[str | None, typer.Option(help="A new name")] = None,
    expires: ExpiresOption = None,
    rights: GivenRights,
    limits: GivenLimits,
    door: Door,
    json: JsonOption = False,
) -> None:
    """Change what is given of a key; the rest stays."""
    from headrace.apps.cli.accounts.doing import update_key

    finish("keys", update_key(key, name, expires, rights, limits), door, json=json)


@app.command()
@spread
def rotate(
    key: KeyArgument,
    *,
    overlap: Annotated[str, typer.Option(metavar="TIME", help="How long the old secret goes on: 15m, 7d")] = "0s",
    door: Door,
    json: JsonOption = False,
) -> None:
    """Give a key a new secret, and show it this once."""
    from headrace.apps.cli.accounts.doing import rotate_key

    finish("keys", rotate_key(key, overlap), door, json=json)


@app.command()
@spread
def revoke(key: KeyArgument, *, door: Door, json: JsonOption = False) -> None:
    """End a key for ever, within a second."""
    finish("keys", lambda admin: admin.revoke_key(key), door, json=json)


@app.command()
@spread
def delete(key: KeyArgument, *, door: Door, json: JsonOption = False) -> None:
    """Remove a key from lists too. The audit log keeps what it was."""
    from headrace.apps.cli.accounts.doing import delete_key

    finish("keys", delete_key(key), door, json=json)

"""`headrace limits`: what is left to the key that one has."""

import asyncio
import sys

import httpx
import msgspec
from rich.console import Console

from headrace.apps.cli.accounts.door import DEFAULT_URL, TIMEOUT_SECONDS
from headrace.apps.cli.accounts.limits_table import make_limits_table
from headrace.apps.cli.accounts.run import BAD_ARGUMENTS, FAILED, FILE_WIDTH
from headrace.apps.cli.asking import ask
from headrace.apps.cli.environment import read_environment
from headrace.gateway.limits.wire import LimitsBody
from headrace.process.config import read_settings
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import Secret, SettingsError

PATH = "/v1/limits"
NO_KEY = (
    "the key is missing or wrong: set HEADRACE_API_KEY to the key of a tenant; administrators see every key with "
    "`headrace keys show`"
)
NOT_THERE = "this gateway counts for nobody: it needs accounts.enabled"


def show_own_limits(*, url: str | None, config: str | None, as_json: bool) -> int:
    """Print what is left, and return the exit status."""
    try:
        settings = read_settings(config=config, environ=read_environment())
        body = asyncio.run(_read(url or DEFAULT_URL, settings.gateway.api_key))
    except HeadraceError as error:
        sys.stderr.write(f"headrace limits: {error.message}\n")
        return FAILED
    except SettingsError as error:
        sys.stderr.write(f"headrace limits: {error}\n")
        return BAD_ARGUMENTS
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(body)).decode() + "\n")
        return 0
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
    console.print(make_limits_table(body.data) if body.data else "Nothing limits this key.")
    return 0


async def _read(url: str, key: Secret | None) -> LimitsBody:
    headers = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_SECONDS) as http:
        return await read_limits(http)


async def read_limits(http: httpx.AsyncClient) -> LimitsBody:
    """Return what is left to the key of a client.

    Raises:
        HeadraceError: nobody answers, or not with that.
    """
    return await ask(http, PATH, LimitsBody, unauthorized=NO_KEY, not_there=NOT_THERE)

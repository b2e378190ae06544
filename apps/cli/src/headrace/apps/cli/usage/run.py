"""Runs `headrace usage`."""

import asyncio
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx
from msgspec import structs

from headrace.accounts.database import Database
from headrace.accounts.ledger.report import DatabaseUsageReport, UsageQuery, UsageReport, UsageSum
from headrace.apps.cli.accounts.door import DEFAULT_URL, TIMEOUT_SECONDS
from headrace.apps.cli.accounts.run import FILE_WIDTH
from headrace.apps.cli.environment import read_environment
from headrace.apps.cli.served import list_names
from headrace.apps.cli.usage.asking import to_query
from headrace.apps.cli.usage.client import UsageClient
from headrace.apps.cli.usage.options import UsageOptions
from headrace.apps.cli.usage.printing import print_csv, print_json, print_table
from headrace.apps.gateway.accounts_database import open_database
from headrace.process.config import read_settings
from headrace.process.logs import set_up_log
from headrace.schema.errors import HeadraceError
from headrace.schema.settings import Settings, SettingsError

FAILED = 1
BAD_ARGUMENTS = 2


def run_usage(options: UsageOptions) -> int:
    """Print what was used, and return the exit status."""
    try:
        sys.stdout.write(show_usage(options, read_environment(), now=datetime.now(UTC)))
    except HeadraceError as error:
        sys.stderr.write(f"headrace usage: {error.message}\n")
        return FAILED
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"headrace usage: {error}\n")
        return BAD_ARGUMENTS
    return 0


def show_usage(options: UsageOptions, environ: Mapping[str, str], *, now: datetime) -> str:
    """Return what is to be printed.

    Raises:
        HeadraceError: the ledger can't be read.
        ValueError: something that was typed, or a setting, can't be used.
    """
    if options.as_json and options.as_csv:
        raise ValueError("--json and --csv are two ways to print the same: give one of them")
    if options.door.database and options.door.url is not None:
        raise ValueError("--url and --database are two ways to the same: give one of them")
    query = to_query(options, now=now)
    settings = read_settings(config=options.door.config, environ=environ)
    if options.door.database:
        sums, currency = _read_inside(settings, structs.replace(query, served=list_names(settings)))
    else:
        sums, currency = _read_outside(options, settings, query)
    if options.as_json:
        return print_json(sums)
    if options.as_csv:
        return print_csv(query, sums)
    # Lines for a file or a pipe are not folded for a terminal that is not there.
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else FILE_WIDTH
    return print_table(query, sums, currency=currency, width=width)


def _read_inside(settings: Settings, query: UsageQuery) -> tuple[list[UsageSum], str]:
    set_up_log(settings.log)
    address, _ = open_database(settings)

    async def read() -> list[UsageSum]:
        database = Database(address)
        try:
            return await _read_all(DatabaseUsageReport(database), query)
        finally:
            await database.close()

    return asyncio.run(read()), settings.metering.currency


def _read_outside(options: UsageOptions, settings: Settings, query: UsageQuery) -> tuple[list[UsageSum], str]:
    admin_key = settings.accounts.admin_key
    key = admin_key or settings.gateway.api_key
    if query.tenant is not None and admin_key is None:
        raise ValueError("--tenant needs the administrators' key: set HEADRACE_ACCOUNTS_ADMIN_KEY")
    headers = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
    url = (options.door.url or DEFAULT_URL).rstrip("/")

    async def read() -> tuple[list[UsageSum], str]:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS) as http:
            client = UsageClient(http, is_admin=admin_key is not None)
            return await _read_all(client, query), client.currency

    return asyncio.run(read())


async def _read_all(report: UsageReport, query: UsageQuery) -> list[UsageSum]:
    sums: list[UsageSum] = []
    while True:
        page = await report.read(query)
        sums += page.sums
        if page.after is None:
            return sums
        query = structs.replace(query, after=page.after)

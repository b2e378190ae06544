"""The options that the commands on accounts share. Only typer is imported here, so that `--help` is instant."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.apps.cli.options import ConfigOption, UrlOption

ExpiresOption = Annotated[
    str | None, typer.Option(metavar="WHEN", help="When it ends: 30d, 12h, 2027-01-31, an ISO instant, or none")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """Which way in: the admin API of a gateway, or the database itself.

    Attributes:
        url: of a gateway; None for the usual one.
        database: whether to go to the database itself.
        config: the settings file.
    """

    url: UrlOption = None
    database: Annotated[
        bool, typer.Option("--database", help="Go to the database of the settings, not through a gateway")
    ] = False
    config: ConfigOption = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenRights:
    """The rights on a command line; None is not given."""

    models: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Models that it may ask for, with commas; all for every one")
    ] = None
    max_priority: Annotated[int | None, typer.Option(min=0, max=9, help="Highest priority that it gets")] = None
    local_only: Annotated[
        bool | None, typer.Option("--local-only/--not-local-only", help="Requests never leave for an outside provider")
    ] = None
    retains: Annotated[bool | None, typer.Option("--retains/--no-retains", help="Streams may be taken up again")] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenLimits:
    """The limits on a command line, as they were typed; None is not given."""

    rpm: Annotated[str | None, typer.Option(metavar="N", help="Requests a minute: 500, 2k, or none")] = None
    tpm: Annotated[str | None, typer.Option(metavar="N", help="Tokens a minute: 20k, 1.5M, or none")] = None
    concurrent: Annotated[str | None, typer.Option(metavar="N", help="Generations at once, or none")] = None
    tokens_per_day: Annotated[str | None, typer.Option(metavar="N", help="Tokens a day, or none")] = None
    tokens_per_month: Annotated[str | None, typer.Option(metavar="N", help="Tokens a month, or none")] = None
    cost_per_month: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Cost a month: 12.50, or none")] = None

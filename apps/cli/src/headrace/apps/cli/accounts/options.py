"""The options that the commands on accounts share. Only typer is imported here, so that `--help` is instant."""

from typing import Annotated

import typer

UrlOption = Annotated[
    str | None, typer.Option("--url", help="Where a gateway is [default: http://127.0.0.1:8000]", show_default=False)
]
DatabaseOption = Annotated[
    bool, typer.Option("--database", help="Go to the database of the settings, not through a gateway")
]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Settings file [default: $HEADRACE_CONFIG, or headrace.toml]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts")]
ModelsOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Models that it may ask for, with commas; all for every one")
]
PriorityOption = Annotated[int | None, typer.Option(min=0, max=9, help="Highest priority that it gets")]
LocalOption = Annotated[
    bool | None, typer.Option("--local-only/--not-local-only", help="Requests never leave for an outside provider")
]
RetainsOption = Annotated[bool | None, typer.Option("--retains/--no-retains", help="Streams may be taken up again")]
RpmOption = Annotated[str | None, typer.Option(metavar="N", help="Requests a minute: 500, 2k, or none")]
TpmOption = Annotated[str | None, typer.Option(metavar="N", help="Tokens a minute: 20k, 1.5M, or none")]
ConcurrentOption = Annotated[str | None, typer.Option(metavar="N", help="Generations at once, or none")]
TokensPerDayOption = Annotated[str | None, typer.Option(metavar="N", help="Tokens a day, or none")]
TokensPerMonthOption = Annotated[str | None, typer.Option(metavar="N", help="Tokens a month, or none")]
CostPerMonthOption = Annotated[str | None, typer.Option(metavar="AMOUNT", help="Cost a month: 12.50, or none")]
ExpiresOption = Annotated[
    str | None, typer.Option(metavar="WHEN", help="When it ends: 30d, 12h, 2027-01-31, an ISO instant, or none")
]

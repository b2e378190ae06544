"""Options of many commands. Only typer is imported here, so that `--help` is instant."""

from typing import Annotated

import typer

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Settings file [default: $HEADRACE_CONFIG, or headrace.toml]"),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Where a gateway is [default: http://127.0.0.1:8000]", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts")]

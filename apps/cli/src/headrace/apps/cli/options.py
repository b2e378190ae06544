"""Options of many commands. Only typer is imported here, so that `--help` is instant."""

from typing import Annotated

import typer

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Settings file [default: $HEADRACE_CONFIG, or headrace.toml]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts")]

"""Options that are declared once are options of every command that takes them."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from headrace.apps.cli.main import app
from headrace.apps.cli.spreading import spread


@dataclass(frozen=True, kw_only=True)
class Colours:
    front: Annotated[str | None, typer.Option(help="In front")] = None
    is_dark: Annotated[bool, typer.Option("--dark")] = False


def test_each_field_is_an_option() -> None:
    seen: list[tuple[str, Colours, int]] = []
    made = typer.Typer()

    @made.command()
    @spread
    def paint(what: str, *, colours: Colours, times: int = 1) -> None:
        """Paint something."""
        seen.append((what, colours, times))

    runner = CliRunner()
    assert runner.invoke(made, ["door", "--front", "red", "--dark", "--times", "2"]).exit_code == 0
    assert runner.invoke(made, ["wall"]).exit_code == 0
    assert seen == [("door", Colours(front="red", is_dark=True), 2), ("wall", Colours(), 1)]
    shown = runner.invoke(made, ["--help"]).output
    assert "Paint something." in shown
    assert "In front" in shown


LIMITS = ("--rpm", "--tpm", "--concurrent", "--tokens-per-day", "--tokens-per-month", "--cost-per-month")
RIGHTS = ("--models", "--max-priority", "--local-only", "--retains")
DOOR = ("--url", "--database", "--config", "--json")


@pytest.mark.parametrize(
    "words", [("keys", "create"), ("keys", "update"), ("tenants", "create"), ("tenants", "update")]
)
def test_what_has_limits_takes_all_of_them(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
    assert not [option for option in (*LIMITS, *RIGHTS, *DOOR) if option not in shown]

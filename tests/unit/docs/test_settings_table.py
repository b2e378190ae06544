"""The table of settings in docs/operations.md is the one that the code writes."""

from pathlib import Path

from headrace.schema.settings.table import render_settings_table

BEGIN = "<!-- settings table begins -->\n"
END = "<!-- settings table ends -->\n"


def test_the_table_is_up_to_date(repository: Path) -> None:
    page = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1, "docs/operations.md has lost a marker of its settings table"
    table = page.partition(BEGIN)[2].partition(END)[0]
    assert table == render_settings_table(), (
        "docs/operations.md shows other settings than the code has: put the output of "
        "`uv run --no-sync headrace settings --markdown` between the two markers"
    )

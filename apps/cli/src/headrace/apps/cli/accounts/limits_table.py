"""What is left of limits as a table for people."""

from collections.abc import Sequence

from rich.table import Table

from headrace.accounts.quota.remaining import LimitState
from headrace.apps.cli.accounts.tables import show_instant

MICROS = 1_000_000
_WORDS = {
    "requests_per_minute": "requests/minute",
    "tokens_per_minute": "tokens/minute",
    "concurrent_generations": "at once",
    "tokens_per_day": "tokens/day",
    "tokens_per_month": "tokens/month",
    "cost_per_month_micros": "cost/month",
}


def make_limits_table(limits: Sequence[LimitState]) -> Table:
    """Return a line for each limit."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("LIMIT", "OF"):
        table.add_column(title)
    for title in ("SIZE", "USED", "RESERVED", "LEFT"):
        table.add_column(title, justify="right")
    table.add_column("ANEW AT")
    for each in limits:
        amounts = [_show(each.limit, amount) for amount in (each.size, each.used, each.reserved, each.left)]
        anew = "" if each.resets_at is None else show_instant(each.resets_at)
        table.add_row(_WORDS.get(each.limit, each.limit), each.owner, *amounts, anew)
    return table


def _show(limit: str, amount: int) -> str:
    return f"{amount / MICROS:,.6f}" if limit == "cost_per_month_micros" else f"{amount:,}"

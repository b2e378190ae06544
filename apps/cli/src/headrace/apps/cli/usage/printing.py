"""Sums as a table for people, as lines for a spreadsheet, and as JSON for scripts."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table

from headrace.accounts.ledger.report import DIMENSIONS, Dimension, UsagePage, UsageQuery, UsageSum
from headrace.accounts.secrets import START
from headrace.gateway.usage.render import to_csv

MICROS = 1_000_000
_NUMBERS = ("REQUESTS", "INPUT", "OUTPUT", "CACHED")


def print_csv(query: UsageQuery, sums: Sequence[UsageSum]) -> str:
    """Return lines."""
    return to_csv(query, UsagePage(sums=tuple(sums))).replace("\r\n", "\n")


def print_json(sums: Sequence[UsageSum]) -> str:
    """Return JSON."""
    return msgspec.json.format(msgspec.json.encode(list(sums))).decode() + "\n"


def print_table(query: UsageQuery, sums: Sequence[UsageSum], *, currency: str, width: int | None = None) -> str:
    """Return a table, with the total below where there is more than one line."""
    if not sums:
        return "Nothing was used.\n"
    dimensions: list[Dimension] = [name for name in DIMENSIONS if name in query.group_by]
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=len(sums) > 1)
    totals = _numbers(_add(sums))
    for index, name in enumerate(dimensions):
        table.add_column(name.upper(), footer="total" if index == 0 else "", overflow="fold")
    for name, total in zip((*_NUMBERS, f"COST {currency}".strip()), totals, strict=True):
        table.add_column(name, justify="right", footer=total)
    for each in sums:
        table.add_row(*(_show(name, each) for name in dimensions), *_numbers(each))
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, markup=False).print(table)
    return text.getvalue()


def _show(name: Dimension, each: UsageSum) -> str:
    """Say what a sum is of: a tenant and a key by their names, where they still have any."""
    value = each.group.get(name, "")
    match name:
        case "day":
            return datetime.fromtimestamp(int(value), UTC).date().isoformat()
        case "tenant" if each.tenant_name is not None:
            return each.tenant_name
        case "key" if each.key_name is not None:
            return f"{each.key_name} {START}{each.key_prefix}"
        case _:
            return str(value) or "-"


def _numbers(each: UsageSum) -> list[str]:
    counts = (each.requests, each.input_tokens, each.output_tokens, each.cached_tokens)
    return [*(f"{count:,}" for count in counts), f"{each.cost_micros / MICROS:,.6f}"]


def _add(sums: Sequence[UsageSum]) -> UsageSum:
    return UsageSum(
        group={},
        requests=sum(each.requests for each in sums),
        input_tokens=sum(each.input_tokens for each in sums),
        output_tokens=sum(each.output_tokens for each in sums),
        cached_tokens=sum(each.cached_tokens for each in sums),
        reasoning_tokens=sum(each.reasoning_tokens for each in sums),
        cost_micros=sum(each.cost_micros for each in sums),
    )

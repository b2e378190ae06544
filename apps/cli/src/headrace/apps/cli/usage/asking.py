"""From what was typed to a question for the ledger; the present is passed in."""

from datetime import UTC, datetime, timedelta

from headrace.accounts.ledger.report import DIMENSIONS, MAX_ROWS, Dimension, UsageQuery
from headrace.accounts.quota.periods import bounds_of, month_of
from headrace.accounts.secrets import to_reference
from headrace.apps.cli.accounts.typed import read_instant, read_option, read_seconds
from headrace.apps.cli.usage.options import UsageOptions
from headrace.schema.settings.allowed import suggest


def to_query(options: UsageOptions, *, now: datetime) -> UsageQuery:
    """Return what was asked for.

    Raises:
        ValueError: something of it can't be read.
    """
    since = _read_past("--since", options.since, now)
    until = _read_past("--until", options.until, now)
    start = round(bounds_of(month_of(now.timestamp()))[0]) if since is None else int(since.timestamp())
    end = int(now.timestamp()) + 1 if until is None else int(until.timestamp())
    if start >= end:
        raise ValueError("--since must be before --until")
    return UsageQuery(
        start=start,
        end=end,
        group_by=_read_dimensions(options.by),
        tenant=options.tenant,
        # Without its secret: addresses are logged on the way.
        key=None if options.key is None else to_reference(options.key),
        model=options.model,
        limit=MAX_ROWS,
    )


def _read_past(option: str, text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    try:
        return now - timedelta(seconds=read_seconds(text))
    except (ValueError, OverflowError):
        return read_option(option, lambda given: read_instant(given, now=now.astimezone(UTC)), text)


def _read_dimensions(text: str) -> tuple[Dimension, ...]:
    known: dict[str, Dimension] = {name: name for name in DIMENSIONS}
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := next((name for name in names if name not in known), None):
        allowed = f"some of {', '.join(DIMENSIONS)}, with commas"
        raise ValueError(f"--by: {unknown!r} is given, and allowed is {allowed}{suggest(unknown, DIMENSIONS)}")
    return tuple(dict.fromkeys(known[name] for name in names))

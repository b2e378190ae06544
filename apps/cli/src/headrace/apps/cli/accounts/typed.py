"""What people type, as values: times, limits, lists of models. The present is passed in."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from msgspec import UNSET, UnsetType

from headrace.accounts.limits import MAX_LIMIT
from headrace.accounts.values import MAX_OVERLAP_SECONDS, LimitsPatch, RightsPatch
from headrace.apps.cli.accounts.options import GivenLimits, GivenRights

NONE = "none"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?P<count>\d{1,6})(?P<unit>[smhdw])")
_NUMBER = re.compile(r"(?P<digits>\d{1,15}(?:\.\d{1,6})?)(?P<unit>[kKmM]?)")
_FACTORS = {"": 1, "k": 1000, "m": 1_000_000}
MICROS = 1_000_000

T = TypeVar("T")


def read_option(option: str, read: Callable[[str], T], text: str) -> T:
    """Return what was typed for an option.

    Raises:
        ValueError: it can't be read; the option is named.
    """
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def read_seconds(text: str) -> float:
    """Return a duration such as `90s`, `15m`, `12h`, `30d` or `2w`, in seconds.

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: type 90s, 15m, 12h, 30d or 2w")
    return float(int(match["count"]) * _UNITS[match["unit"]])


def read_overlap(text: str) -> float:
    """Return how long an old secret goes on, in seconds.

    Raises:
        ValueError: it is no duration, or too long a one.
    """
    seconds = read_seconds(text)
    if seconds > MAX_OVERLAP_SECONDS:
        raise ValueError(f"{text!r} is given, and allowed is 0s to {MAX_OVERLAP_SECONDS // _UNITS['d']}d")
    return seconds


def read_instant(text: str, *, now: datetime) -> datetime | None:
    """Return a time: from now on (`30d`), a date (`2027-01-31`, its beginning in UTC), or an instant of ISO 8601.

    Returns:
        None for `none`.

    Raises:
        ValueError: it is none of them.
    """
    if text == NONE:
        return None
    if _DURATION.fullmatch(text.strip()):
        try:
            return now + timedelta(seconds=read_seconds(text))
        except OverflowError:
            raise ValueError(f"{text!r} is too far away: no time has more than 4 digits of its year") from None
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time: type 30d, 12h, 2027-01-31, 2027-01-31T12:00Z, or none") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def read_limit(text: str) -> int | None:
    """Return a limit such as `500`, `20k` or `1.5M`; None for `none`.

    Raises:
        ValueError: it is no whole number above 0, or too large a one.
    """
    if text == NONE:
        return None
    match = _NUMBER.fullmatch(text.strip())
    value = Decimal(match["digits"]) * _FACTORS[match["unit"].lower()] if match else Decimal(0)
    if value < 1 or value != int(value):
        raise ValueError(f"{text!r} is no limit: type 500, 20k, 1.5M, or none")
    if value > MAX_LIMIT:
        raise ValueError(f"{text!r} is given, and allowed is a limit of up to {MAX_LIMIT}, or none")
    return int(value)


def read_cost(text: str) -> int | None:
    """Return a cost such as `25` or `12.50` in millionths; None for `none`.

    Raises:
        ValueError: it is no amount above 0.
    """
    if text == NONE:
        return None
    try:
        micros = Decimal(text) * MICROS
    except InvalidOperation:
        micros = Decimal(0)
    if not micros.is_finite() or micros < 1 or micros != int(micros):
        raise ValueError(f"{text!r} is no amount: type 25, 12.50, or none")
    if micros > MAX_LIMIT:
        raise ValueError(f"{text!r} is given, and allowed is an amount of up to {MAX_LIMIT // MICROS}, or none")
    return int(micros)


def read_models(text: str | None) -> tuple[str, ...] | UnsetType | None:
    """Return names with commas between them; None for `all`, and UNSET for what was not given."""
    if text is None:
        return UNSET
    return None if text == "all" else tuple(name.strip() for name in text.split(",") if name.strip())


def to_rights_patch(given: GivenRights) -> RightsPatch | UnsetType:
    """Return what is to be changed; UNSET for nothing."""
    if given == GivenRights():
        return UNSET
    return RightsPatch(
        models=read_models(given.models),
        max_priority=UNSET if given.max_priority is None else given.max_priority,
        local_only=UNSET if given.local_only is None else given.local_only,
        retains=UNSET if given.retains is None else given.retains,
    )


def to_limits_patch(given: GivenLimits) -> LimitsPatch | UnsetType:
    """Return what is to be changed; UNSET for nothing.

    Raises:
        ValueError: one of them can't be read.
    """
    if given == GivenLimits():
        return UNSET
    return LimitsPatch(
        requests_per_minute=_read("--rpm", read_limit, given.rpm),
        tokens_per_minute=_read("--tpm", read_limit, given.tpm),
        concurrent_generations=_read("--concurrent", read_limit, given.concurrent),
        tokens_per_day=_read("--tokens-per-day", read_limit, given.tokens_per_day),
        tokens_per_month=_read("--tokens-per-month", read_limit, given.tokens_per_month),
        cost_per_month_micros=_read("--cost-per-month", read_cost, given.cost_per_month),
    )


def _read(option: str, read: Callable[[str], int | None], text: str | None) -> int | UnsetType | None:
    return UNSET if text is None else read_option(option, read, text)

"""Days and months, in UTC."""

from datetime import UTC, datetime, timedelta

DAY_SECONDS = 86400


def day_of(now: float) -> str:
    """Return the name of a day: `YYYYMMDD`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")


def month_of(now: float) -> str:
    """Return the name of a month: `YYYYMM`."""
    return day_of(now)[:6]


def bounds_of(period: str) -> tuple[float, float]:
    """Return when a period begins and when the next one does, Unix seconds."""
    if len(period) > len("YYYYMM"):
        begin = datetime.strptime(period, "%Y%m%d").replace(tzinfo=UTC)
        return begin.timestamp(), (begin + timedelta(days=1)).timestamp()
    begin = datetime.strptime(period, "%Y%m").replace(tzinfo=UTC)
    # The 32nd day after the first is always in the next month.
    return begin.timestamp(), (begin + timedelta(days=31)).replace(day=1).timestamp()


def seconds_left(period: str, now: float) -> float:
    """Return how long a period still lasts."""
    return max(0.0, bounds_of(period)[1] - now)

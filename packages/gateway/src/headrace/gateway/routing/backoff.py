"""How long to wait before a provider is asked again: a function of how often it was, of chance, and of what it said."""

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 8.0


def pause_before_retry(
    retry: int, *, random: float, retry_after_seconds: float | None, left_seconds: float
) -> float | None:
    """Return the pause in seconds, or None where waiting is not worth it.

    It doubles from retry to retry and is drawn from its upper half, so that callers who failed together do not come
    back together.

    Args:
        retry: which one comes, counted from 1.
        random: from 0 to 1.
        retry_after_seconds: what the provider asked for, where it did.
        left_seconds: until the request's deadline.
    """
    longest: float = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (retry - 1))
    pause = longest * (0.5 + random / 2)
    if retry_after_seconds is not None:
        if retry_after_seconds > LONGEST_SECONDS:
            return None
        pause = max(pause, retry_after_seconds)
    return pause if pause < left_seconds else None

"""The vendors' headers that tell a client where it stands in its limits of a minute."""

import math
from datetime import UTC, datetime, timedelta

from headrace.schema.caller import RateLimits


def openai_headers(limits: RateLimits) -> dict[str, str]:
    """Return OpenAI's headers; of a limit that there is none of, none."""
    headers: dict[str, str] = {}
    if limits.limit_requests is not None:
        headers |= {
            "X-RateLimit-Limit-Requests": str(limits.limit_requests),
            "X-RateLimit-Remaining-Requests": str(limits.remaining_requests),
            "X-RateLimit-Reset-Requests": show_duration(limits.reset_requests_seconds),
        }
    if limits.limit_tokens is not None:
        headers |= {
            "X-RateLimit-Limit-Tokens": str(limits.limit_tokens),
            "X-RateLimit-Remaining-Tokens": str(limits.remaining_tokens),
            "X-RateLimit-Reset-Tokens": show_duration(limits.reset_tokens_seconds),
        }
    return headers


def anthropic_headers(limits: RateLimits, *, now: float) -> dict[str, str]:
    """Return Anthropic's headers; of a limit that there is none of, none.

    Args:
        limits: where the client stands.
        now: Unix seconds.
    """
    headers: dict[str, str] = {}
    if limits.limit_requests is not None:
        headers |= {
            "Anthropic-RateLimit-Requests-Limit": str(limits.limit_requests),
            "Anthropic-RateLimit-Requests-Remaining": str(limits.remaining_requests),
            "Anthropic-RateLimit-Requests-Reset": show_instant(now + limits.reset_requests_seconds),
        }
    if limits.limit_tokens is not None:
        headers |= {
            "Anthropic-RateLimit-Tokens-Limit": str(limits.limit_tokens),
            "Anthropic-RateLimit-Tokens-Remaining": str(limits.remaining_tokens),
            "Anthropic-RateLimit-Tokens-Reset": show_instant(now + limits.reset_tokens_seconds),
        }
    return headers


def show_duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: `0s`, `120ms`, `1s`, `6m0s`."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def show_instant(at: float) -> str:
    """Return an instant as RFC 3339 has it, in whole seconds, rounded up."""
    instant = datetime.fromtimestamp(0, UTC) + timedelta(seconds=math.ceil(at))
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")

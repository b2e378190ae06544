"""The headers that say how a call is to be treated, and the ids that we give it.

They are headers because they mean the same in every dialect, and no vendor's body has a field for them.
"""

import math
import secrets
import time
from urllib.parse import quote

from litestar.datastructures import Headers

from headrace.gateway.failure import RequestRefusedError
from headrace.scheduler.base import GenerationRecord
from headrace.schema.names import LANES, Lane
from headrace.schema.task import MAX_PRIORITY

TIMEOUT_HEADER = "Headrace-Timeout-Seconds"
PRIORITY_HEADER = "Headrace-Priority"
PRIVACY_HEADER = "Headrace-Privacy"
LOCAL_ONLY = "local_only"
ROUTE_HEADER = "Headrace-Route"
LANE_HEADER = "Headrace-Lane"
REQUEST_ID_HEADER = "Headrace-Request-Id"
RETAIN_HEADER = "Headrace-Retain"
RETAINED_HEADER = "Headrace-Retained"
IDEMPOTENCY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
LAST_EVENT_ID_HEADER = "Last-Event-ID"
REQUEST_ID_PREFIX = "gen_"
ANTHROPIC_VERSION_HEADER = "Anthropic-Version"
"""Anthropic's clients send it with every request, and no others do."""


def make_request_id() -> str:
    """Return a new id: it sorts by the time at which it was made, and nobody can guess another's."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{REQUEST_ID_PREFIX}{milliseconds:012x}{secrets.token_hex(10)}"


def created_at(request_id: str) -> int:
    """Return when an id was made, Unix seconds: an answer that is written again says what it said before."""
    try:
        made = int(request_id.removeprefix(REQUEST_ID_PREFIX)[:12], 16) // 1000
    except ValueError:
        made = 0
    # One that says nothing was made elsewhere.
    return made or int(time.time())


def request_id_headers(request_id: str) -> dict[str, str]:
    """Return the headers by which a client learns the id of its generation, to cancel it or to ask about it.

    The second is OpenAI's, the third Anthropic's.
    """
    return {REQUEST_ID_HEADER: request_id, "X-Request-Id": request_id, "Request-Id": request_id}


def route_headers(record: GenerationRecord) -> dict[str, str]:
    """Return the header by which a client learns who answers: `own`, or `provider:NAME`; none where nobody knows."""
    return {ROUTE_HEADER: quote(record.route, safe=" :/@+")} if record.route else {}


def read_privacy(headers: Headers) -> bool:
    """Return whether the call must not leave for an outside provider.

    Raises:
        RequestRefusedError: it says something else, which is not to be guessed at.
    """
    text = headers.get(PRIVACY_HEADER)
    if text is None:
        return False
    if text.strip() != LOCAL_ONLY:
        message = f"the header {PRIVACY_HEADER} may say {LOCAL_ONLY} and nothing else"
        raise RequestRefusedError(message, reason="invalid_value", param=PRIVACY_HEADER)
    return True


def read_timeout(headers: Headers, *, most_seconds: float) -> float | None:
    """Return the time that the call may take, in seconds, or None if it does not say.

    Raises:
        RequestRefusedError: it is no number above 0, or above what is allowed.
    """
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    try:
        # Python's own floats may be written with underscores.
        seconds = math.nan if "_" in text else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= most_seconds:
        message = f"the header {TIMEOUT_HEADER} must be a number of seconds above 0 and at most {most_seconds:g}"
        raise RequestRefusedError(message, reason="invalid_value", param=TIMEOUT_HEADER)
    return seconds


def read_priority(headers: Headers) -> int | None:
    """Return the priority of the call, or None if it does not say.

    Raises:
        RequestRefusedError: it is no whole number from 0 to 9.
    """
    text = headers.get(PRIORITY_HEADER)
    if text is None:
        return None
    text = text.strip()
    if len(text) != 1 or text not in "0123456789":
        message = f"the header {PRIORITY_HEADER} must be a whole number from 0 to {MAX_PRIORITY}"
        raise RequestRefusedError(message, reason="invalid_value", param=PRIORITY_HEADER)
    return int(text)


def read_lane(headers: Headers) -> Lane | None:
    """Return the lane of the call, or None if it does not say.

    Raises:
        RequestRefusedError: there is no such lane.
    """
    text = headers.get(LANE_HEADER)
    if text is None:
        return None
    for lane in LANES:
        if text.strip() == lane:
            return lane
    message = f"the header {LANE_HEADER} must be one of: {', '.join(LANES)}"
    raise RequestRefusedError(message, reason="invalid_value", param=LANE_HEADER)

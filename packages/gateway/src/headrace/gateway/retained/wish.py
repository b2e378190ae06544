"""How a call says that its generation is to outlive it: by a header, by its key, or because it may be sent twice."""

import re

from litestar.datastructures import Headers
from msgspec import Struct

from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.headers import IDEMPOTENCY_HEADER, LAST_EVENT_ID_HEADER, RETAIN_HEADER
from headrace.gateway.retained.places import NamedPlace, read_place
from headrace.schema.caller import Caller

MAX_KEY_LENGTH = 255
_KEY = re.compile(r"[\x21-\x7e]+")
_WORDS = {"true": True, "false": False}


class RetentionWish(Struct, frozen=True, kw_only=True):
    """What a call asks for.

    Attributes:
        is_asked: the call says so itself, so it is refused where it can't be had.
        key: its idempotency key, if it has one.
        place: how far its client has come in the stream that was begun with that key.
        param: what a refusal names: the header or the field that asks for it.
    """

    is_asked: bool
    key: str | None = None
    place: NamedPlace | None = None
    param: str = RETAIN_HEADER


def read_wish(headers: Headers, caller: Caller) -> RetentionWish | None:
    """Return what a call asks for, or None where its generation ends with it.

    Raises:
        RequestRefusedError: a header is not what it must be, or one that it needs is missing.
    """
    asked = _read_retain(headers.get(RETAIN_HEADER))
    key = headers.get(IDEMPOTENCY_HEADER)
    if key is not None and not (_KEY.fullmatch(key) and len(key) <= MAX_KEY_LENGTH):
        message = f"the header {IDEMPOTENCY_HEADER} must be 1 to {MAX_KEY_LENGTH} printable ASCII characters, no spaces"
        raise RequestRefusedError(message, reason="invalid_value", param=IDEMPOTENCY_HEADER)
    place = read_place(headers)
    if place is not None and key is None:
        # It would be answered from the start, and fit on to nothing that its client has.
        message = (
            f"the header {LAST_EVENT_ID_HEADER} goes on with a stream that was begun with an {IDEMPOTENCY_HEADER}: "
            f"send that {IDEMPOTENCY_HEADER} too, or ask for GET /v1/generations/{place.request_id}"
        )
        raise RequestRefusedError(message, reason="missing_required_parameter", param=IDEMPOTENCY_HEADER)
    if key is not None:
        return RetentionWish(is_asked=True, key=key, place=place, param=IDEMPOTENCY_HEADER)
    if asked:
        return RetentionWish(is_asked=True)
    return RetentionWish(is_asked=False) if asked is None and caller.retains else None


def _read_retain(text: str | None) -> bool | None:
    if text is None:
        return None
    if (asked := _WORDS.get(text.strip().lower())) is None:
        message = f"the header {RETAIN_HEADER} must be true or false"
        raise RequestRefusedError(message, reason="invalid_value", param=RETAIN_HEADER)
    return asked

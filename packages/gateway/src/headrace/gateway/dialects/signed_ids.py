"""Gemini signs its calls, and no other vendor's API has a place for that.

But each client sends the id of a call back as it got it, with the call and with its result. So the signature travels
inside the id, in characters that every API allows.
"""

import base64

from msgspec import Struct

from headrace.schema.events import Signature
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS

SIGNED_BY = "gemini"
_MARK = "--sig-"
# Behind it are the hex digits of a signature that is no base64, or not in the one way that its bytes are written here:
# it must come back letter by letter.
_HEX_MARK = "--hex-"

MAX_ID_CHARACTERS = 256
MAX_SIGNED_ID_CHARACTERS = MAX_ID_CHARACTERS + len(_HEX_MARK) + 2 * MAX_SIGNATURE_CHARACTERS


class SignedId(Struct, frozen=True):
    """An id of a call, and the signature that it carried."""

    id: str
    signature: Signature | None = None


def to_signed_id(call_id: str, signature: Signature | None) -> str:
    """Return an id that carries a signature of Gemini's; no other vendor signs calls."""
    if signature is None or signature.signed_by != SIGNED_BY:
        # An id that looks like a signed one is another gateway's, which wants it back as it is.
        return f"{call_id}{_MARK}" if _MARK in call_id or _HEX_MARK in call_id else call_id
    value = signature.value
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raw = b""
    encoded = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    is_same = base64.b64encode(raw).decode() == value
    if not is_same or _MARK in encoded or _HEX_MARK in encoded:
        return f"{call_id}{_HEX_MARK}{value.encode('utf-8', 'surrogatepass').hex()}"
    return f"{call_id}{_MARK}{encoded}"


def read_signed_id(text: str) -> SignedId:
    """Return what an id carries."""
    mark = max(_MARK, _HEX_MARK, key=text.rfind)
    id_, found, encoded = text.rpartition(mark)
    if not found:
        return SignedId(text)
    try:
        if mark == _HEX_MARK:
            value = bytes.fromhex(encoded).decode("utf-8", "surrogatepass")
        else:
            raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            value = base64.b64encode(raw).decode()
    except ValueError:
        return SignedId(text)
    if len(value) > MAX_SIGNATURE_CHARACTERS:
        return SignedId(text)
    return SignedId(id_, Signature(value, SIGNED_BY) if value else None)

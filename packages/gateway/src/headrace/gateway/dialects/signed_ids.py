"""Gemini signs its calls, and no other vendor's API has a place for that.

But each client sends the id of a call back as it got it, with the call and with its result. So the signature travels
inside the id, in characters that every API allows.
"""

import base64
import binascii

from msgspec import Struct

from headrace.schema.events import Signature
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS

SIGNED_BY = "gemini"
_MARK = "--sig-"
# For one that is not base64, or not the only way to write its bytes: it must come back letter by letter.
_TEXT_MARK = "--txt-"

MAX_ID_CHARACTERS = 256
MAX_SIGNED_ID_CHARACTERS = MAX_ID_CHARACTERS + len(_TEXT_MARK) + 2 * MAX_SIGNATURE_CHARACTERS


class SignedId(Struct, frozen=True):
    """An id of a call, and the signature that it carried."""

    id: str
    signature: Signature | None = None


def to_signed_id(call_id: str, signature: Signature | None) -> str:
    """Return an id that carries a signature of Gemini's; of no other vendor's calls are signed."""
    if signature is None or signature.signed_by != SIGNED_BY:
        return call_id
    value = signature.value
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raw = b""
    if raw and base64.b64encode(raw).decode() == value:
        return f"{call_id}{_MARK}{_encode(raw)}"
    return f"{call_id}{_TEXT_MARK}{_encode(value.encode())}"


def read_signed_id(text: str) -> SignedId:
    """Return what an id carries."""
    for mark in (_MARK, _TEXT_MARK):
        id_, found, encoded = text.partition(mark)
        if not found:
            continue
        try:
            raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            value = base64.b64encode(raw).decode() if mark == _MARK else raw.decode()
        except (binascii.Error, ValueError):
            return SignedId(text)
        return SignedId(id_, Signature(value, SIGNED_BY) if value else None)
    return SignedId(text)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

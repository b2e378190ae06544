"""Gemini signs its calls, and refuses the next turn of a conversation whose calls come back without their signatures.

No client of another vendor's API has a place for such a thing, but each sends the id of a call back as it got it. So
the signature travels inside the id, in characters that every API allows.
"""

import base64
import binascii

from msgspec import Struct

UNSIGNED = "skip_thought_signature_validator"
"""What Gemini takes in place of a signature for a call that another model made."""

_MARK = "--sig-"


class SignedId(Struct, frozen=True):
    """An id of a call, and the signature that it carried."""

    id: str
    signature: str | None = None


def to_signed_id(call_id: str, signature: str | None) -> str:
    """Return an id that carries a signature."""
    if not signature:
        return call_id
    try:
        raw = base64.b64decode(signature, validate=True)
    except binascii.Error:
        return call_id
    return f"{call_id}{_MARK}{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


def read_signed_id(text: str) -> SignedId:
    """Return what an id carries."""
    id_, mark, encoded = text.partition(_MARK)
    if not mark:
        return SignedId(text)
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError):
        return SignedId(text)
    return SignedId(id_, base64.b64encode(raw).decode())

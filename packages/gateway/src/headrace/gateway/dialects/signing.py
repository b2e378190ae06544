"""Signatures in the bodies of vendors that have one string for them, or none at all.

A client sends back what it got, and may be answered by another vendor the next time, so a signature must say whose it
is. The one that the dialect's own vendor signed stands there as it is, as that vendor's clients expect it; before any
other stands the name of who signed it, with a colon, which no vendor's own signature has.
"""

import re

from headrace.gateway.headers import REQUEST_ID_PREFIX
from headrace.schema.events import Signature
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS, ReasoningPart, TextPart, ToolCallPart

_NAMED = re.compile(r"([a-z][a-z0-9_-]{0,63}):")
_REDACTED = "redacted:"


def write_signature(signature: Signature, *, home: str) -> str:
    """Return a signature as the clients of a vendor get it.

    Args:
        signature: of a thought.
        home: the vendor whose dialect it is written in.
    """
    return signature.value if signature.signed_by == home else f"{signature.signed_by}:{signature.value}"


def read_signature(text: str, *, home: str) -> Signature | None:
    """Return the signature that a client sends back, or None where nobody signed anything, or it is too long.

    What stands in the place of a signature for a thought of our own models is the id of the generation.
    """
    if not text or text.startswith(REQUEST_ID_PREFIX):
        return None
    if (named := _NAMED.match(text)) is None:
        return Signature(text, home) if len(text) <= MAX_SIGNATURE_CHARACTERS else None
    value = text[named.end() :]
    return Signature(value, named[1]) if 0 < len(value) <= MAX_SIGNATURE_CHARACTERS else None


def write_sealed(signature: Signature, *, home: str) -> str:
    """Return a signature for a place that has thoughts of both kinds: those that are signed, and encrypted ones."""
    mark = _REDACTED if signature.is_redacted else ""
    return f"{signature.signed_by}:{mark}{signature.value}" if mark else write_signature(signature, home=home)


def read_sealed(text: str, *, home: str) -> Signature | None:
    """Return what `write_sealed` wrote."""
    found = read_signature(text, home=home)
    if found is None or not found.value.startswith(_REDACTED):
        return found
    value = found.value.removeprefix(_REDACTED)
    return Signature(value, found.signed_by, is_redacted=True) if value else None


def to_signature(part: ReasoningPart | TextPart | ToolCallPart) -> Signature | None:
    """Return what a part of an answer is signed with."""
    if not part.signature or not part.signed_by:
        return None
    return Signature(part.signature, part.signed_by, isinstance(part, ReasoningPart) and part.is_redacted)


def to_thought(text: str, signature: Signature | None) -> ReasoningPart:
    """Return a thought that is sent back."""
    if signature is None:
        return ReasoningPart(text)
    shown = "" if signature.is_redacted else text
    return ReasoningPart(shown, signature.value, signature.signed_by, signature.is_redacted)

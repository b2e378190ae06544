"""Anthropic signs thoughts, and refuses those that are not signed, or not as it signed them."""

from headrace.schema.messages import ReasoningPart

SIGNED_BY = "anthropic"
"""Whose the signatures are: no other vendor takes them."""

# What our own dialect signs thoughts with, where the model that thought them has no signature.
_OUR_SIGNATURE = "gen_"


def signature_of(part: ReasoningPart) -> str | None:
    """Return the signature of a thought, if it may be Anthropic's: of one that nobody names it is taken to be."""
    if not part.signature or part.signature.startswith(_OUR_SIGNATURE):
        return None
    return part.signature if part.signed_by in (None, SIGNED_BY) else None

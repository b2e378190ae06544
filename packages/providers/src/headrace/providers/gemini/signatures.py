"""Gemini signs its thoughts, texts and calls, and refuses the next turn of a conversation whose calls are unsigned."""

from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart

SIGNED_BY = "gemini"
"""Whose the signatures are: no other vendor takes them."""

UNSIGNED = "skip_thought_signature_validator"
"""What Gemini takes in place of a signature for a call that another model made, or whose signature got lost."""


def signature_of(part: TextPart | ReasoningPart | ToolCallPart) -> str | None:
    """Return the signature of a part, if it is Gemini's."""
    return part.signature or None if part.signed_by == SIGNED_BY else None

"""Signatures in the words that servers of this API have for them, since OpenAI itself has none.

Gemini's own server of this API has `extra_content.google.thought_signature` on a call and on a message, and gateways
before other vendors have `thinking_blocks` on a message. A client that keeps only the id of a call keeps its signature
too: it is in the id once more.
"""

from typing import Any, cast

from msgspec import Struct

from headrace.gateway.dialects.openai.chat.refusing import wrong_type
from headrace.gateway.dialects.signed_ids import SIGNED_BY
from headrace.gateway.dialects.signing import read_signature, to_thought, write_signature
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.events import Signature
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS, ReasoningPart, SignatureText

HOME = "anthropic"
"""Whose signatures stand in `thinking_blocks` as they are: the blocks are Anthropic's."""


class ThinkingBlock(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="thinking"):
    """A thought, whole, with its signature; `index` is its number in a stream."""

    thinking: str
    signature: SignatureText | None = None
    index: Any = None
    cache_control: Any = None


class RedactedThinkingBlock(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="redacted_thinking"
):
    """A thought that only its vendor can read."""

    data: SignatureText
    index: Any = None
    cache_control: Any = None


ThoughtBlock = ThinkingBlock | RedactedThinkingBlock


class GoogleExtra(Struct, frozen=True, kw_only=True):
    """What Gemini adds."""

    thought_signature: str


class ExtraContent(Struct, frozen=True, kw_only=True):
    """What vendors add to a message or a call; each has a field."""

    google: GoogleExtra


def to_block(text: str, signature: Signature, *, index: int | None = None) -> ThoughtBlock:
    """Return a signed thought."""
    written = write_signature(signature, home=HOME)
    if signature.is_redacted:
        return RedactedThinkingBlock(data=written, index=index)
    return ThinkingBlock(thinking=text, signature=written, index=index)


def to_extra(signature: Signature | None) -> ExtraContent | None:
    """Return what is added to a text or a call that Gemini signed; it has no place for other signatures."""
    if signature is None or signature.signed_by != SIGNED_BY:
        return None
    return ExtraContent(google=GoogleExtra(thought_signature=signature.value))


def read_blocks(blocks: tuple[ThoughtBlock, ...], thought: str | None) -> tuple[ReasoningPart, ...]:
    """Return the thoughts that a client sends back.

    Args:
        blocks: as it got them, or without their text.
        thought: what it sends back as the text of all of them.
    """
    shown = [block for block in blocks if isinstance(block, ThinkingBlock)]
    if thought and len(shown) == 1 and not shown[0].thinking:
        return tuple(_read_block(block, thought) for block in blocks)
    return tuple(_read_block(block, "") for block in blocks)


def _read_block(block: ThoughtBlock, text: str) -> ReasoningPart:
    if isinstance(block, RedactedThinkingBlock):
        found = read_signature(block.data, home=HOME)
        signature = None if found is None else Signature(found.value, found.signed_by, is_redacted=True)
        return to_thought("", signature)
    return to_thought(block.thinking or text, read_signature(block.signature or "", home=HOME))


def read_extra(extra: dict[str, Any] | None, path: str) -> Signature | None:
    """Return the signature in what vendors add; what others have added is passed over.

    Raises:
        RequestRefusedError: Gemini's is none.
    """
    google = (extra or {}).get("google")
    if not isinstance(google, dict):
        return None
    found = cast("dict[str, Any]", google).get("thought_signature")
    if not found:
        return None
    place = f"{path}.google.thought_signature"
    if not isinstance(found, str):
        raise wrong_type(place, "a string")
    if len(found) > MAX_SIGNATURE_CHARACTERS:
        raise RequestRefusedError(f"'{place}' is too long", reason="invalid_value", param=place)
    return Signature(found, SIGNED_BY)

"""Chat messages as every dialect normalises them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Role = Literal["system", "user", "assistant", "tool"]
ToolName = Annotated[str, Meta(min_length=1, max_length=128)]
# More than any conversation needs; a template and a tokenizer pay for each.
MAX_MESSAGES = 4096
MAX_PARTS = 4096
MAX_IMAGES = 128
# A vendor's longest are some tens of thousands; a thought that is encrypted as a whole is its own signature.
MAX_SIGNATURE_CHARACTERS = 2**20

SignatureText = Annotated[str, Meta(max_length=MAX_SIGNATURE_CHARACTERS)]
VendorName = Annotated[str, Meta(max_length=64)]


class TextPart(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="text"):
    """A run of text inside a message.

    Attributes:
        text: the text.
        signature: of an assistant's text: what its vendor needs to know it again; it travels untouched.
        signed_by: the kind of provider that signed it, and the only one that is sent the signature.
    """

    text: str
    signature: SignatureText | None = None
    signed_by: VendorName | None = None


class ImagePart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="image"):
    """An image, by reference.

    Attributes:
        url: a `data:` URL with the image itself, or an `https:` URL where the model's settings allow its host.
        detail: how closely to look, for models that know the difference.
    """

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ReasoningPart(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="reasoning"):
    """What an assistant thought before it answered, sent back by a client that keeps it.

    Attributes:
        text: the thought.
        signature: what its author needs to know it again; it travels untouched.
        signed_by: the kind of provider that signed it, and the only one that is sent the signature; None where nobody
            says.
        is_redacted: `signature` is the thought itself, encrypted, and `text` is empty.
    """

    text: str
    signature: SignatureText | None = None
    signed_by: VendorName | None = None
    is_redacted: bool = False


class ToolCallPart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="tool_call"):
    """A call that an assistant made.

    Attributes:
        id: what its result refers to.
        name: the tool.
        arguments: JSON, as the model wrote it.
        signature: what its vendor needs to know it again; it travels untouched.
        signed_by: the kind of provider that signed it, and the only one that is sent the signature.
    """

    id: str
    name: ToolName
    arguments: str
    signature: SignatureText | None = None
    signed_by: VendorName | None = None


class ToolResultPart(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="tool_result"):
    """What a tool answered.

    Attributes:
        tool_call_id: the call.
        content: its text, or parts.
        is_error: the tool failed, and `content` says how.
    """

    tool_call_id: str
    content: str | tuple[TextPart | ImagePart, ...]
    is_error: bool = False

    def to_text(self) -> str:
        """Return the text of the result, its parts joined without a separator."""
        return self.content if isinstance(self.content, str) else join_text(self.content)


Part = TextPart | ImagePart | ReasoningPart | ToolCallPart | ToolResultPart


class Message(Struct, frozen=True, omit_defaults=True):
    """One chat message.

    Attributes:
        role: who speaks. Tool calls and reasoning are the assistant's; a message of role `tool` holds tool results.
        content: plain text, or parts in reading order.
        name: an optional name that tells speakers of one role apart.
    """

    role: Role
    content: str | tuple[Part, ...]
    name: Annotated[str, Meta(max_length=256)] | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts."""
        return (TextPart(self.content),) if isinstance(self.content, str) else self.content

    def to_text(self) -> str:
        """Return what is said in the message: its text parts joined without a separator, and nothing else."""
        return self.content if isinstance(self.content, str) else join_text(self.content)


def join_text(parts: tuple[Part, ...]) -> str:
    """Return the text parts among these, joined without a separator."""
    return "".join(part.text for part in parts if isinstance(part, TextPart))

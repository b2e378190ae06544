"""Chat messages as every dialect normalises them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Role = Literal["system", "user", "assistant"]


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """A run of text inside a message."""

    text: str


Part = TextPart


class Message(Struct, frozen=True, omit_defaults=True):
    """One chat message.

    Attributes:
        role: who speaks.
        content: plain text, or parts in reading order.
        name: an optional name that tells speakers of one role apart.
    """

    role: Role
    content: str | tuple[Part, ...]
    name: Annotated[str, Meta(max_length=256)] | None = None

    def to_text(self) -> str:
        """Return the text of the message, its parts joined without a separator."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)

"""What form the text of an answer must have. All but plain text is guaranteed by constrained decoding."""

from typing import Annotated, Any

from msgspec import Meta, Struct

_NonEmpty = Annotated[str, Meta(min_length=1)]


class TextFormat(Struct, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(Struct, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchemaFormat(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="json_schema"):
    """JSON that a schema accepts.

    Attributes:
        schema: JSON Schema.
        name: what the client calls it.
        description: what it is for.
    """

    schema: dict[str, Any]
    name: Annotated[str, Meta(max_length=128)] | None = None
    description: str | None = None


class RegexFormat(Struct, frozen=True, tag_field="type", tag="regex"):
    """Text that a regular expression matches as a whole."""

    pattern: _NonEmpty


class ChoiceFormat(Struct, frozen=True, tag_field="type", tag="choice"):
    """One of these texts."""

    choices: Annotated[tuple[_NonEmpty, ...], Meta(min_length=1, max_length=1024)]


class GrammarFormat(Struct, frozen=True, tag_field="type", tag="grammar"):
    """Text of a grammar in the notation that the engine knows (for vLLM: EBNF of xgrammar)."""

    grammar: _NonEmpty


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | ChoiceFormat | GrammarFormat

"""The body of a call for embeddings, what becomes of each of its fields, and the answer.

The names are OpenAI's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.gateway.dialects.openai.prompts import PromptsBody

EncodingFormat = Literal["float", "base64"]

IGNORED_FIELDS = frozenset({"user"})
"""They change nothing in the answer, so whatever they say is fine."""

UNSUPPORTED_FIELDS: dict[str, tuple[Any, ...]] = {
    "add_special_tokens": (True,),
    "cache_salt": (),
    "embed_dtype": ("float32",),
    "endianness": ("native", "little"),
    "messages": (),
    "mm_processor_kwargs": ({},),
    "padding": ("do_not_pad",),
    "priority": (0,),
    "request_id": (),
    "truncate_prompt_tokens": (),
    "truncation_side": (),
    "use_activation": (True,),
}
"""Fields that vLLM has and we don't, with the values, beside null, that ask for nothing that we lack."""

ADVICE = {"messages": "; use 'input'", "priority": "; use the header Headrace-Priority"}
"""What to use in place of a field."""


class EmbeddingBody(Struct, frozen=True, kw_only=True):
    """The body of a call for embeddings: the fields that we support."""

    model: Annotated[str, Meta(min_length=1)]
    input: PromptsBody
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    encoding_format: EncodingFormat | None = None


class Embedding(Struct, frozen=True, kw_only=True):
    """The embedding of one input: numbers, or their little-endian 32-bit floats in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: tuple[float, ...] | str


class EmbeddingUsage(Struct, frozen=True, kw_only=True):
    """Token counts, all inputs together."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    """The embeddings of all inputs, in their order."""

    object: Literal["list"] = "list"
    data: tuple[Embedding, ...]
    model: str
    usage: EmbeddingUsage

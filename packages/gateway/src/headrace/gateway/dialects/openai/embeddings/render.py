"""Embeddings as OpenAI writes them."""

import struct
from binascii import b2a_base64
from collections.abc import Sequence

import msgspec

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.openai.embeddings.wire import Embedding, EmbeddingList, EmbeddingUsage, EncodingFormat
from headrace.scheduler.base import Submission
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event

_FLOAT_BYTES = 4


class EmbeddingRendering:
    """Writes the answer to one call.

    Args:
        submission: the call.
        encoding_format: how a vector is written.
    """

    def __init__(self, submission: Submission, *, encoding_format: EncodingFormat) -> None:
        self._request = submission.request
        self._write = _to_base64 if encoding_format == "base64" else _to_floats

    def render_events(self, events: Sequence[Event]) -> bytes:  # noqa: ARG002 - the room for frames is the Protocol's
        """Return nothing: embeddings are never streamed."""
        return b""

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of the answer.

        Raises:
            HeadraceError: `stream_broken`: the embedding of an input is missing.
        """
        if [item.index for item in answer.embeddings] != list(range(len(self._request.prompts))):
            raise HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its inputs was embedded")
        tokens = answer.usage.input_tokens
        return msgspec.json.encode(
            EmbeddingList(
                data=tuple(Embedding(index=e.index, embedding=self._write(e.vector)) for e in answer.embeddings),
                model=self._request.model,
                usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
            )
        )


def _to_base64(vector: bytes) -> str:
    """Return the vector as it is, in base64: the bytes of the schema are those that OpenAI sends."""
    return b2a_base64(vector, newline=False).decode()


def _to_floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // _FLOAT_BYTES}f", vector)

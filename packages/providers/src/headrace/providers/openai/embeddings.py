"""Reads the embeddings of OpenAI's API."""

import base64
import binascii

import msgspec

from headrace.providers.failing import Complaints
from headrace.providers.floats import pack_floats
from headrace.providers.openai.stream import to_usage
from headrace.providers.openai.wire import EmbeddingListBody
from headrace.providers.whole import WholeReader
from headrace.schema.events import Event, PromptEmbedded, Usage

_FLOAT_BYTES = 4
_lists = msgspec.json.Decoder(EmbeddingListBody)


class EmbeddingReader(WholeReader):
    """Reads a list of embeddings.

    Args:
        count: how many were asked for.
        complaints: say what goes wrong.
    """

    def __init__(self, count: int, complaints: Complaints) -> None:
        super().__init__(complaints)
        self._count = count

    def read(self, body: bytes) -> tuple[list[Event], Usage]:
        """Return the embeddings, and what they cost."""
        found = _lists.decode(body)
        if sorted(item.index for item in found.data) != list(range(self._count)):
            raise ValueError("not one embedding for each input")
        vectors = sorted(found.data, key=lambda item: item.index)
        events: list[Event] = [PromptEmbedded(item.index, _to_vector(item.embedding)) for item in vectors]
        return events, Usage(0, 0) if found.usage is None else to_usage(found.usage)


def _to_vector(embedding: list[float] | str) -> bytes:
    if not isinstance(embedding, str):
        return pack_floats(embedding)
    try:
        vector = base64.b64decode(embedding, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if len(vector) % _FLOAT_BYTES:
        raise ValueError("not whole floats")
    return vector

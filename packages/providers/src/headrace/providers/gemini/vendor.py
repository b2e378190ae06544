"""Gemini's API: generations, embeddings and token counts."""

from typing import Any
from urllib.parse import quote

import msgspec

from headrace.providers.base import ProviderCall
from headrace.providers.counts import to_count
from headrace.providers.extensions import merge_extensions
from headrace.providers.failing import Complaints, VendorError
from headrace.providers.floats import pack_floats
from headrace.providers.gemini.errors import read_error_body
from headrace.providers.gemini.request import BodyWriter
from headrace.providers.gemini.stream import ContentReader
from headrace.providers.gemini.wire import CountBody, EmbeddingsBody
from headrace.providers.http import HttpCall
from headrace.providers.telling import GenerationTelling
from headrace.providers.vendor import AnswerReader, Exchange
from headrace.providers.whole import WholeReader
from headrace.schema.events import Event, PromptEmbedded, Usage
from headrace.schema.settings import ProviderSettings

KEPT_FIELDS = ("contents", "systemInstruction", "model", "requests")
_KIND = "gemini"
_counts = msgspec.json.Decoder(CountBody)
_embeddings = msgspec.json.Decoder(EmbeddingsBody)


class GeminiVendor:
    """Speaks Gemini's API.

    Args:
        name: of the provider.
        settings: of the provider.
        complaints: say what goes wrong.
    """

    check_path = "/models"

    def __init__(self, name: str, settings: ProviderSettings, complaints: Complaints) -> None:
        self._keys = (_KIND, name)
        self._omitted = settings.omit_fields
        self._complaints = complaints
        self._bodies = BodyWriter(complaints)

    def prepare(self, call: ProviderCall) -> Exchange:
        """Return a call in Gemini's words."""
        request = call.request
        # A model is a part of the path here, and must not become another path.
        model = f"/models/{quote(request.model.removeprefix('models/'), safe='')}"
        if request.embedding is not None:
            body = self._complete(self._bodies.write_embeddings(request), call)
            return _to_exchange(
                f"{model}:batchEmbedContents", body, _EmbeddingReader(request.prompts, self._complaints)
            )
        body = self._complete(self._bodies.write_generation(request), call)
        if request.count_only:
            counted = {"generateContentRequest": {"model": f"models/{request.model}", **body}}
            return _to_exchange(f"{model}:countTokens", counted, _CountReader(self._complaints))
        return Exchange(
            http=HttpCall(path=f"{model}:streamGenerateContent", query={"alt": "sse"}, body=msgspec.json.encode(body)),
            reader=self._to_reader(call),
        )

    def read_error(self, body: bytes) -> VendorError:
        """Return what the body of an error says."""
        return read_error_body(body)

    def _complete(self, body: dict[str, Any], call: ProviderCall) -> dict[str, Any]:
        for name in self._omitted:
            body.pop(name, None)
        merge_extensions(body, call.request, self._keys, KEPT_FIELDS, self._complaints)
        return body

    def _to_reader(self, call: ProviderCall) -> AnswerReader:
        count = call.request.generation_parameters.n
        telling = GenerationTelling(
            count=count,
            request_id=call.request_id,
            output=call.request.output,
            complaints=self._complaints,
        )
        return ContentReader(telling, count=count, complaints=self._complaints)


def _to_exchange(path: str, body: dict[str, Any], reader: AnswerReader) -> Exchange:
    return Exchange(http=HttpCall(path=path, body=msgspec.json.encode(body), answer="whole"), reader=reader)


class _CountReader(WholeReader):
    """Reads a token count."""

    def read(self, body: bytes) -> tuple[list[Event], Usage]:
        """Return the count."""
        count = _counts.decode(body)
        return [], Usage(to_count(count.total_tokens), 0, to_count(count.cached_content_token_count))


class _EmbeddingReader(WholeReader):
    """Reads embeddings; this API does not say what they cost."""

    def __init__(self, prompts: tuple[object, ...], complaints: Complaints) -> None:
        super().__init__(complaints)
        self._count = len(prompts)

    def read(self, body: bytes) -> tuple[list[Event], Usage]:
        """Return the embeddings."""
        found = _embeddings.decode(body).embeddings
        if len(found) != self._count:
            raise ValueError("not one embedding for each input")
        return [PromptEmbedded(index, pack_floats(item.values)) for index, item in enumerate(found)], Usage(0, 0)

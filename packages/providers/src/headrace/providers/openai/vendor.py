"""OpenAI's API: chats, completions and embeddings."""

from urllib.parse import urlsplit

import msgspec

from headrace.providers.base import ProviderCall
from headrace.providers.extensions import merge_extensions
from headrace.providers.failing import Complaints, VendorError
from headrace.providers.http import HttpCall
from headrace.providers.openai.embeddings import EmbeddingReader
from headrace.providers.openai.errors import read_error_body
from headrace.providers.openai.request import BodyWriter
from headrace.providers.openai.stream import ChatReader, CompletionReader
from headrace.providers.telling import GenerationTelling
from headrace.providers.vendor import AnswerReader, Exchange
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import ProviderSettings

KEPT_FIELDS = ("model", "messages", "prompt", "input", "stream", "stream_options", "n")
_KIND = "openai"
_OWN_HOSTS = (".openai.com", ".azure.com")
_GEMINI_HOSTS = (".googleapis.com",)


def is_openai_itself(url: str) -> bool:
    """Tell whether an address is OpenAI's own, or Azure's, which runs the same: both refuse what they do not know."""
    return _is_at(url, _OWN_HOSTS)


def _is_at(url: str, hosts: tuple[str, ...]) -> bool:
    return f".{urlsplit(url).hostname or ''}".endswith(hosts)


class OpenAIVendor:
    """Speaks OpenAI's API.

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
        self._is_own = is_openai_itself(settings.url)
        self._compact = self._is_own or settings.vllm_fields
        self._bodies = BodyWriter(
            vllm_fields=settings.vllm_fields,
            # OpenAI's newer models know only the newer name, and other servers often only the older.
            max_tokens_field="max_completion_tokens" if self._is_own else "max_tokens",
            sends_reasoning=not self._is_own and "reasoning_content" not in settings.omit_fields,
            sends_signatures=_is_at(settings.url, _GEMINI_HOSTS),
            complaints=complaints,
        )

    def prepare(self, call: ProviderCall) -> Exchange:
        """Return a call in OpenAI's words."""
        request = call.request
        if request.embedding is not None:
            path, body = "/embeddings", self._bodies.write_embedding(request, compact=self._compact)
        elif request.prompts:
            path, body = "/completions", self._bodies.write_completion(request)
        else:
            path, body = "/chat/completions", self._bodies.write_chat(request)
        for name in self._omitted:
            body.pop(name, None)
        merge_extensions(body, request, self._keys, KEPT_FIELDS, self._complaints)
        return Exchange(
            http=HttpCall(
                path=path,
                body=msgspec.json.encode(body),
                headers={"X-Client-Request-Id" if self._is_own else "X-Request-Id": call.request_id},
                answer="stream" if request.embedding is None else "whole",
            ),
            reader=self._to_reader(call, request),
        )

    def read_error(self, body: bytes) -> VendorError:
        """Return what the body of an error says."""
        return read_error_body(body)

    def _to_reader(self, call: ProviderCall, request: ChatCompletionRequest) -> AnswerReader:
        if request.embedding is not None:
            return EmbeddingReader(len(request.prompts), self._complaints)
        telling = GenerationTelling(
            count=max(1, len(request.prompts)) * request.generation_parameters.n,
            request_id=call.request_id,
            output=request.output,
            complaints=self._complaints,
        )
        return (CompletionReader if request.prompts else ChatReader)(telling, self._complaints)

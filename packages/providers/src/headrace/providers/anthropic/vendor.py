"""Anthropic's API: messages, and counting their tokens."""

import msgspec

from headrace.providers.anthropic.errors import read_error_body
from headrace.providers.anthropic.request import BodyWriter
from headrace.providers.anthropic.stream import MessageReader
from headrace.providers.anthropic.wire import CountBody
from headrace.providers.base import ProviderCall
from headrace.providers.counts import to_count
from headrace.providers.extensions import merge_extensions
from headrace.providers.failing import Complaints, VendorError
from headrace.providers.http import HttpCall
from headrace.providers.telling import GenerationTelling
from headrace.providers.vendor import AnswerReader, Exchange
from headrace.providers.whole import WholeReader
from headrace.schema.events import Event, Usage
from headrace.schema.settings import ProviderSettings

VERSION = "2023-06-01"
KEPT_FIELDS = ("model", "messages", "system", "stream")
_KIND = "anthropic"
_counts = msgspec.json.Decoder(CountBody)


class AnthropicVendor:
    """Speaks Anthropic's API.

    Args:
        name: of the provider.
        settings: of the provider.
        complaints: say what goes wrong.
    """

    def __init__(self, name: str, settings: ProviderSettings, complaints: Complaints) -> None:
        self._keys = (_KIND, name)
        self._omitted = settings.omit_fields
        self._complaints = complaints
        # The vendor's own clients leave the version of the path out of the base URL, and other servers' docs do not.
        self._root = "" if settings.url.partition("?")[0].endswith("/v1") else "/v1"
        self.check_path = f"{self._root}/models"
        self._bodies = BodyWriter(
            default_max_tokens=settings.default_max_tokens,
            thinking_tokens=settings.thinking_tokens,
            complaints=complaints,
        )

    def prepare(self, call: ProviderCall) -> Exchange:
        """Return a call in Anthropic's words."""
        request = call.request
        count = request.count_only
        body = self._bodies.write_count(request) if count else self._bodies.write_message(request)
        for name in self._omitted:
            body.pop(name, None)
        merge_extensions(body, request, self._keys, KEPT_FIELDS, self._complaints)
        path = f"{self._root}/messages/count_tokens" if count else f"{self._root}/messages"
        return Exchange(
            http=HttpCall(path=path, body=msgspec.json.encode(body), answer="whole" if count else "stream"),
            reader=self._to_reader(call),
        )

    def read_error(self, body: bytes) -> VendorError:
        """Return what the body of an error says."""
        return read_error_body(body)

    def _to_reader(self, call: ProviderCall) -> AnswerReader:
        if call.request.count_only:
            return _CountReader(self._complaints)
        telling = GenerationTelling(
            count=1,
            request_id=call.request_id,
            output=call.request.output,
            complaints=self._complaints,
        )
        return MessageReader(telling, self._complaints)


class _CountReader(WholeReader):
    """Reads a token count."""

    def read(self, body: bytes) -> tuple[list[Event], Usage]:
        """Return the count."""
        return [], Usage(to_count(_counts.decode(body).input_tokens), 0)

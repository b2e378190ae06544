"""A provider over HTTP: sends what a vendor's words say, reads the answer as it comes, and tells it as events.

The vendor is always asked for a stream. A whole answer is folded from the same events, and a stream is the only form in
which a client that leaves stops costing money at once.
"""

from collections.abc import AsyncGenerator

from headrace.providers.base import ProviderCall, ProviderError
from headrace.providers.failing import Complaints, to_failure_event
from headrace.providers.http import MAX_ERROR_BYTES, MAX_WHOLE_BYTES, HttpAnswer, HttpUpstream
from headrace.providers.sse import OversizeEventError, SseParser
from headrace.providers.vendor import AnswerReader, Exchange, Vendor
from headrace.schema.events import Event, GenerationStarted

_OK = 200
_STREAM, _JSON = "text/event-stream", "application/json"
# A key that is refused, or none: whoever says so is there. A server may also lack what the check asks for.
_CHECK_FINE = (200, 404, 405)


class HttpProvider:
    """A provider that is called over HTTP.

    Args:
        name: as the settings call it.
        vendor: whose API it speaks.
        upstream: its connections, which this object closes.
        complaints: say what goes wrong.
    """

    def __init__(self, name: str, *, vendor: Vendor, upstream: HttpUpstream, complaints: Complaints) -> None:
        self._name = name
        self._vendor = vendor
        self._upstream = upstream
        self._complaints = complaints

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._name

    @property
    def open_calls(self) -> int:
        """Calls that have a connection now."""
        return self._upstream.open_calls

    def __repr__(self) -> str:
        return f"HttpProvider({self._name!r})"

    async def generate(self, call: ProviderCall) -> AsyncGenerator[list[Event], None]:
        """Run a call and yield its events; see `Provider.generate`."""
        exchange = self._vendor.prepare(call)
        answer = await self._upstream.send(exchange.http, timeout_seconds=call.timeout_seconds)
        is_whole = False
        try:
            await self._check_head(answer, exchange)
            source = _EventSource(answer, exchange, self._complaints)
            has_begun = False
            while not source.is_done:
                events: list[Event] = []
                try:
                    await source.read(events)
                except ProviderError as error:
                    if not has_begun:
                        raise
                    reader = exchange.reader
                    events.append(to_failure_event(error, stage=reader.stage, usage=reader.usage))
                    yield events
                    return
                is_whole = source.is_done
                if events and not has_begun:
                    has_begun = True
                    answer.begin()
                    events.insert(0, GenerationStarted(f"provider:{self._name}", exchange.reader.input_tokens))
                if events:
                    yield events
        finally:
            self._upstream.leave(answer, is_whole=is_whole)

    async def check(self) -> None:
        """Raise ProviderError, with the reason, unless it can be reached now and takes our key."""
        answer = await self._upstream.get(self._vendor.check_path)
        try:
            if answer.status not in _CHECK_FINE:
                raise await self._to_error(answer)
        finally:
            self._upstream.leave(answer, is_whole=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._upstream.close()

    async def _check_head(self, answer: HttpAnswer, exchange: Exchange) -> None:
        """Raise unless this is the answer that was asked for."""
        if answer.status != _OK:
            raise await self._to_error(answer)
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise self._complaints.garbled("a compressed body, which was not asked for")
        wanted = _STREAM if exchange.http.answer == "stream" else _JSON
        if (found := answer.content_type) == wanted:
            return
        if found == _JSON:
            error = self._vendor.read_error(await answer.read_whole(MAX_ERROR_BYTES))
            if error.message or error.kind:
                raise self._complaints.of_event(error)
        raise self._complaints.garbled(f"a body of type {found[:40]!r} in place of {wanted!r}")

    async def _to_error(self, answer: HttpAnswer) -> ProviderError:
        if 300 <= answer.status < 400:
            return self._complaints.garbled(f"a redirect ({answer.status}), and none is followed")
        body = b""
        if answer.headers.get("content-encoding", "identity").lower() == "identity":
            try:
                body = await answer.read_whole(MAX_ERROR_BYTES)
            except ProviderError:
                # Its status says enough.
                body = b""
        return self._complaints.of_status(answer.status, self._vendor.read_error(body), answer.headers)


class _EventSource:
    """Reads an answer from the network into events."""

    def __init__(self, answer: HttpAnswer, exchange: Exchange, complaints: Complaints) -> None:
        self._answer = answer
        self._reader: AnswerReader = exchange.reader
        self._complaints = complaints
        self._sse = SseParser() if exchange.http.answer == "stream" else None

    @property
    def is_done(self) -> bool:
        return self._reader.is_done

    async def read(self, events: list[Event]) -> None:
        """Add the events of what comes next, which may be none."""
        if self._sse is None:
            self._reader.take(await self._answer.read_whole(MAX_WHOLE_BYTES), events)
            return
        data = await self._answer.read()
        try:
            pieces = self._sse.feed(data) if data else self._sse.end()
        except OversizeEventError as error:
            raise self._complaints.garbled("an event that is too large") from error
        reader = self._reader
        for piece in pieces:
            if reader.is_done:
                return
            reader.take(piece, events)
        if not data and not reader.is_done:
            events += reader.end()

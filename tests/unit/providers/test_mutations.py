"""Whatever bytes come, a reader gives well-formed events or fails as a provider does, and in no other way."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.gateway.answer import AnswerFold
from headrace.providers.anthropic.vendor import AnthropicVendor
from headrace.providers.base import ProviderCall, ProviderError
from headrace.providers.failing import Complaints
from headrace.providers.gemini.vendor import GeminiVendor
from headrace.providers.openai.vendor import OpenAIVendor
from headrace.providers.sse import SseParser
from headrace.providers.vendor import Vendor
from headrace.schema.events import Event, GenerationFinished
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from headrace.schema.settings import ProviderSettings
from tests.support.vendor_streams import STREAMS, VendorStream

VENDORS: dict[str, Callable[[str, ProviderSettings, Complaints], Vendor]] = {
    "openai": OpenAIVendor,
    "anthropic": AnthropicVendor,
    "gemini": GeminiVendor,
}
REQUEST = ChatCompletionRequest(model="m", messages=(Message("user", "Hi"),), output=OutputFlags(reasoning=True))
_PIECES = [
    b"null",
    b"{}",
    b"[]",
    b"-1",
    b"1e999",
    b'"\\ud83d"',
    b"\xff",
    b"[" * 5000,
    b"true",
    b'"x"',
    b"",
    b"\n",
    b"99999999999999999999",
]


def read(stream: VendorStream, body: bytes) -> list[Event]:
    settings_ = ProviderSettings(kind=stream.kind)  # pyright: ignore[reportArgumentType]
    vendor = VENDORS[stream.kind]("up", settings_, Complaints("up", None))
    reader = vendor.prepare(ProviderCall(request_id="gen_1", request=REQUEST, timeout_seconds=1.0)).reader
    events: list[Event] = []
    parser = SseParser()
    for data in [*parser.feed(body), *parser.end()]:
        if not reader.is_done:
            reader.take(data, events)
    return events if reader.is_done else events + reader.end()


def check(stream: VendorStream, body: bytes) -> None:
    try:
        events = read(stream, body)
    except ProviderError:
        return
    assert [event for event in events if isinstance(event, GenerationFinished)] == events[-1:]
    fold = AnswerFold()
    fold.add(events)
    assert fold.answer().usage.output_tokens >= 0


@given(stream=st.sampled_from(STREAMS), data=st.data())
@settings(max_examples=400)
def test_mutated_bytes(stream: VendorStream, data: st.DataObject) -> None:
    body = stream.body
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    piece = data.draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
    check(stream, body[:start] + piece + body[end:])


@given(stream=st.sampled_from(STREAMS), data=st.data())
@settings(max_examples=200)
def test_events_that_are_lost_doubled_or_swapped(stream: VendorStream, data: st.DataObject) -> None:
    events = stream.events
    order = data.draw(st.lists(st.sampled_from(events), max_size=2 * len(events)))
    check(stream, b"".join(order))


@pytest.mark.parametrize("stream", STREAMS, ids=[f"{s.kind}: {s.name}" for s in STREAMS])
@pytest.mark.parametrize("piece", [b"\xff", b'"', b"\\ud83d", b"\x00"])
def test_each_place_of_a_stream(stream: VendorStream, piece: bytes) -> None:
    """Every byte, one after the other: what the decoder passes over must not fail later in another way."""
    body = stream.body
    for place in range(0, len(body), 3):
        check(stream, body[:place] + piece + body[place + 1 :])

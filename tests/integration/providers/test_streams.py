"""The vendors' streams, as events: whole ones, cut anywhere, and cut short."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.schema.events import GenerationStarted
from tests.support.providers import collect, failure_of, fold, make_call, merged, provider_at
from tests.support.upstream import Upstream, running_upstream, stream_of
from tests.support.values import make_request
from tests.support.vendor_streams import STREAMS, VendorStream

streams = pytest.mark.parametrize("stream", STREAMS, ids=[f"{s.kind}: {s.name}" for s in STREAMS])


@streams
async def test_it_says_all_that_the_vendor_says(upstream: Upstream, stream: VendorStream) -> None:
    upstream.play(stream_of(*stream.events))
    async with provider_at(stream.kind, upstream) as provider:
        events = await collect(provider)
    answer = fold(events)
    (sequence,) = answer.sequences
    assert sequence.text == stream.text
    assert sequence.reasoning == stream.reasoning
    assert [(call.id, call.name, call.arguments) for call in sequence.tool_calls] == [
        (call.id, call.name, call.arguments) for call in stream.calls
    ]
    signed = [part for part in sequence.parts if part.signature]
    assert [part.signature for part in signed] == list(stream.signatures)
    assert {part.signed_by for part in signed} <= {stream.kind}
    assert sequence.finish_reason == stream.finish_reason
    assert answer.usage == stream.usage
    started = events[0]
    assert isinstance(started, GenerationStarted)
    assert started.input_tokens == {"openai": 0, "anthropic": 20, "gemini": 8}[stream.kind]


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_any_cuts_of_the_bytes_give_the_same_events(kind: str) -> None:
    @given(data=st.data(), stream=st.sampled_from([s for s in STREAMS if s.kind == kind]))
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    def check(data: st.DataObject, stream: VendorStream) -> None:
        body = stream.body
        cuts = data.draw(st.sets(st.integers(1, len(body) - 1), max_size=12))
        places = [0, *sorted(cuts), len(body)]
        pieces = [body[a:b] for a, b in pairwise(places)]

        async def run() -> None:
            async with running_upstream() as upstream, provider_at(kind, upstream) as provider:
                upstream.play(stream_of(body), stream_of(*pieces))
                whole, cut = await collect(provider), await collect(provider)
                assert merged(cut) == merged(whole)

        asyncio.run(run())

    check()


@streams
@pytest.mark.parametrize("end", ["whole", "cut"])
async def test_a_stream_without_its_end_fails(upstream: Upstream, stream: VendorStream, end: str) -> None:
    """Whatever is missing of a stream, it never looks whole."""
    whole = stream.events
    missing = 1 if stream.kind != "gemini" or end == "whole" else 0
    for count in range(1, len(whole) + 1 - missing):
        begun = asyncio.Event()
        upstream.play(stream_of(whole[0], begun, *whole[1:count], end="cut" if end == "cut" else "whole"))
        async with provider_at(stream.kind, upstream) as provider:
            failure = failure_of(await collect(provider, begun=begun))
        assert failure.code == "stream_broken", count
        assert failure.retryable


@streams
async def test_a_stream_that_is_garbled_in_the_middle_fails(upstream: Upstream, stream: VendorStream) -> None:
    begun = asyncio.Event()
    upstream.play(stream_of(stream.events[0], begun, b'data: {"choices": [{\n\n', *stream.events[1:]))
    async with provider_at(stream.kind, upstream) as provider:
        events = await collect(provider, begun=begun)
    assert failure_of(events).code == "provider_error"
    assert failure_of(events).retryable


@streams
async def test_reasoning_is_told_only_where_it_is_asked_for(upstream: Upstream, stream: VendorStream) -> None:
    upstream.play(stream_of(*stream.events))
    async with provider_at(stream.kind, upstream) as provider:
        answer = fold(await collect(provider, make_call(make_request())))
    assert not answer.sequences[0].reasoning
    assert answer.sequences[0].text == stream.text

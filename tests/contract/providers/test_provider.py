"""What every provider does, whatever is behind it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from headrace.providers.base import Fault, Provider, ProviderError
from headrace.providers.scripted import Fail, Hang, Play, ScriptedProvider, Tell, Wait
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from tests.support.providers import collect, failure_of, fold, make_call, provider_at
from tests.support.upstream import running_upstream, stream_of, whole_of
from tests.support.vendor_streams import STREAMS

TEXTS = {stream.kind: stream for stream in STREAMS if stream.name == "text"}
STARTED: tuple[Event, ...] = (GenerationStarted("provider:up"), SequenceStarted(0))
ENDED: tuple[Event, ...] = (SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 1)))
BROKEN = GenerationFailed("stream_broken", "it broke off", "decode", retryable=True)
ILL = ProviderError(ErrorCode.PROVIDER_ERROR, "it is ill", fault=Fault.UPSTREAM)
PLAYS: dict[str, Play] = {
    "whole": (Tell(STARTED), Tell((SequenceDelta(0, "Hi"),)), Tell(ENDED)),
    "broken": (Tell(STARTED), Wait(0.0), Tell((BROKEN,))),
    "hanging": (Tell(STARTED), Hang()),
    "failing": (Fail(ILL),),
}
kinds = pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "scripted"])


@asynccontextmanager
async def playing(kind: str, name: str, begun: asyncio.Event | None = None) -> AsyncGenerator[Provider]:
    """Yield a provider whose next call goes as the name says."""
    if kind == "scripted":
        provider = ScriptedProvider("up", [PLAYS[name]])
        yield provider
        if name == "hanging":
            assert provider.left_early
        return
    stream = TEXTS[kind]
    plays = {
        "whole": stream_of(stream.body),
        "broken": stream_of(stream.events[0], begun or asyncio.Event(), stream.events[1], end="cut"),
        "hanging": stream_of(*stream.events[:3], end="hang"),
        "failing": whole_of({}, status=500),
    }
    async with running_upstream() as upstream, provider_at(kind, upstream) as provider:
        upstream.play(plays[name])
        yield provider
        if name == "hanging":
            await upstream.wait_left()


@kinds
async def test_the_order_of_events(kind: str) -> None:
    async with playing(kind, "whole") as provider:
        events = await collect(provider)
    assert fold(events).sequences[0].text
    order = [type(event) for event in events if not isinstance(event, SequenceDelta)]
    assert order == [GenerationStarted, SequenceStarted, SequenceFinished, GenerationFinished]


@kinds
async def test_a_failure_before_the_first_list_is_an_exception(kind: str) -> None:
    async with playing(kind, "failing") as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider)
    assert (caught.value.code, caught.value.fault) == (ErrorCode.PROVIDER_ERROR, Fault.UPSTREAM)


@kinds
async def test_a_failure_after_the_first_list_is_the_last_event(kind: str) -> None:
    begun = asyncio.Event()
    async with playing(kind, "broken", begun) as provider:
        failure = failure_of(await collect(provider, begun=begun))
    assert (failure.code, failure.retryable) == ("stream_broken", True)


@kinds
async def test_closing_early_ends_the_call(kind: str) -> None:
    async with playing(kind, "hanging") as provider, aclosing(provider.generate(make_call())) as lists:
        assert isinstance((await anext(lists))[0], GenerationStarted)


@kinds
async def test_a_reader_that_is_cancelled_ends_the_call(kind: str) -> None:
    first = asyncio.Event()
    async with playing(kind, "hanging") as provider, asyncio.TaskGroup() as group:
        task = group.create_task(collect(provider, begun=first))
        await first.wait()
        task.cancel()


@kinds
async def test_calls_at_once_do_not_mix(kind: str) -> None:
    async with playing(kind, "whole") as provider, asyncio.TaskGroup() as group:
        tasks = [group.create_task(collect(provider)) for _ in range(8)]
    texts = {fold(task.result()).sequences[0].text for task in tasks}
    assert len(texts) == 1


@kinds
async def test_closing_twice_is_fine(kind: str) -> None:
    async with playing(kind, "whole") as provider:
        await collect(provider)
        await provider.close()
        await provider.close()

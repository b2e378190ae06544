"""Providers that talk to the local server, and what they answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec import structs

from headrace.gateway.answer import Answer, AnswerFold
from headrace.providers.base import Provider, ProviderCall
from headrace.providers.build import build_provider
from headrace.schema.events import Event, GenerationFailed, GenerationStarted, is_terminal
from headrace.schema.merge import merge_deltas
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from headrace.schema.settings import ProviderSettings, Secret
from tests.support.upstream import Upstream

KEY = "sk-headrace-test-key-0123456789"
BASE_PATHS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}


def settings_for(kind: Any, upstream: Upstream, **changes: Any) -> ProviderSettings:
    """Return settings of a provider at the local server."""
    base_url = f"{upstream.url}{BASE_PATHS[kind]}"
    return structs.replace(ProviderSettings(kind=kind, base_url=base_url, api_key=Secret(KEY)), **changes)


@asynccontextmanager
async def provider_at(kind: str, upstream: Upstream, **changes: Any) -> AsyncGenerator[Provider]:
    """Make a provider at the local server, and close it."""
    provider = build_provider("up", settings_for(kind, upstream, **changes))
    try:
        yield provider
    finally:
        await provider.close()


def make_call(request: ChatCompletionRequest | None = None, *, seconds: float = 30.0) -> ProviderCall:
    """Return a call; without a request it is a plain one that asks for reasoning too."""
    if request is None:
        request = ChatCompletionRequest(
            model="m", messages=(Message("user", "Hello"),), output=OutputFlags(reasoning=True, signatures=True)
        )
    return ProviderCall(request_id="gen_1", request=request, timeout_seconds=seconds)


async def collect(
    provider: Provider, call: ProviderCall | None = None, *, begun: asyncio.Event | None = None
) -> list[Event]:
    """Return all events of a call, and check what holds for every stream.

    Args:
        provider: to call.
        call: to make.
        begun: is set when the first list is here, for a server that waits for that.
    """
    events: list[Event] = []
    async with aclosing(provider.generate(call or make_call())) as lists:
        async for batch in lists:
            assert batch, "an empty list says nothing"
            events += batch
            if begun is not None:
                begun.set()
    assert isinstance(events[0], GenerationStarted)
    assert events[0].worker_id == f"provider:{provider.name}"
    assert [is_terminal(event) for event in events] == [False] * (len(events) - 1) + [True]
    return events


def merged(events: list[Event]) -> list[Event]:
    """Return the events in a form that is the same for any cuts of the network."""
    return merge_deltas(events)


def fold(events: list[Event]) -> Answer:
    """Return the whole answer."""
    answer = AnswerFold()
    answer.add(events)
    return answer.answer()


def failure_of(events: list[Event]) -> GenerationFailed:
    """Return the failure that ended a stream."""
    last = events[-1]
    assert isinstance(last, GenerationFailed)
    return last

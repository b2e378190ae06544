"""Every dialect tells the same answer, whether its events come from our workers or from a provider."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.providers.base import ProviderCall
from headrace.scheduler.base import Submission
from headrace.schema.events import Event, GenerationQueued, is_terminal
from headrace.schema.request import OutputFlags
from headrace.schema.settings import RouteSettings
from tests.contract.dialects.base import DialectAdapter
from tests.contract.dialects.scripts import SCRIPTS, Script, splits
from tests.contract.dialects.test_dialects import ANSWERED, FAILED, STREAMS, every, render, tell_stream, tell_whole
from tests.support.values import fresh_name, make_request
from tests.unit.gateway.doubles import ScriptedSource
from tests.unit.routing.doubles import PlayedProvider, make_settings, read, routing, to

ASKS = OutputFlags(token_ids=True, usage=True, timings=True, reasoning=True, logprobs=True, top_logprobs=2, prompt=True)
ONE = RouteSettings(targets=(to("a/x"),), retries=0)


async def route(batches: Sequence[Sequence[Event]]) -> list[Event]:
    """Return what a reader gets of a provider that says this."""
    play = [[event for event in batch if not isinstance(event, GenerationQueued)] for batch in batches]
    provider = PlayedProvider("a", [batch for batch in play if batch])
    async with routing(make_settings({"r": ONE}), ScriptedSource(), provider) as rig:
        request = make_request("r")
        request = type(request)(model="r", messages=request.messages, output=ASKS)
        events = await read(await rig.source.submit(Submission(request_id=fresh_name("gen"), request=request)))
        assert isinstance(provider.calls[0], ProviderCall)
    return events


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
async def test_the_events_of_a_provider_keep_the_promises_of_a_stream(script: Script) -> None:
    events = await route([[event] for event in script.events])
    assert [is_terminal(event) for event in events] == [False] * (len(events) - 1) + [True]
    names = [type(event).__name__ for event in events]
    assert names.count("SequenceStarted") == names.count("SequenceFinished")


@every([case for case in ANSWERED if case in STREAMS])
async def test_a_dialect_tells_what_a_provider_says(adapter: DialectAdapter, script: Script) -> None:
    events = await route([[event] for event in script.events])
    expected = tell_whole(adapter, script, script.events)
    assert tell_whole(adapter, script, events) == expected
    assert tell_stream(adapter, script, [events]) == expected


@every(FAILED)
async def test_a_dialect_tells_how_a_provider_fails(adapter: DialectAdapter, script: Script) -> None:
    events = await route([[event] for event in script.events])
    frames = render(adapter.open(script, stream=True), [events])
    assert adapter.is_terminal(frames[-1])
    assert adapter.read_failure(frames) == "the engine died"


@settings(max_examples=40)
@given(data=st.data())
async def test_however_a_provider_cuts_its_answer_it_is_the_same(data: st.DataObject) -> None:
    adapter, script = data.draw(st.sampled_from([case for case in ANSWERED if case in STREAMS]))
    events = await route(data.draw(splits(script)))
    assert tell_stream(adapter, script, [events]) == tell_whole(adapter, script, script.events)

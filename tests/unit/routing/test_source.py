"""Requests on their way through their targets: who is asked, when the next is, and what the reader sees."""

import asyncio
from typing import Any

import pytest
from msgspec import structs

from headrace.gateway.routing.breaker import BreakerRules, BreakerState
from headrace.providers.base import Fault
from headrace.scheduler.base import Adoption, GenerationRecord
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.request import EmbeddingParams, OutputFlags
from headrace.schema.settings import RouteSettings, SchedulerSettings
from headrace.transport.base import QueueDepth
from tests.support.transports import RecordingSchedulerTransport
from tests.unit.gateway.doubles import HELLO, ScriptedSource
from tests.unit.gateway.doubles import USAGE as OWN_USAGE
from tests.unit.routing.doubles import (
    PlayedProvider,
    ill,
    make_settings,
    make_submission,
    read,
    refuses,
    routing,
    says,
    text_of,
    to,
)

FIRST = RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"),), retries=0)
OWN_FIRST = RouteSettings(targets=(to("own"),), fallbacks=(to("b/y"),))
QUEUED: list[Event] = [GenerationQueued(3)]


def _failure(events: list[Event]) -> GenerationFailed:
    failure = events[-1]
    assert isinstance(failure, GenerationFailed)
    return failure


async def test_a_model_of_ours_goes_to_our_workers_as_it_is() -> None:
    own = ScriptedSource(*HELLO)
    async with routing(make_settings({}), own) as rig:
        submission = make_submission("own")
        generation = await rig.source.submit(submission)
        assert own.submissions == [submission]
        assert generation is own.generations[0]


async def test_a_route_of_one_model_of_ours_asks_for_that_model() -> None:
    own = ScriptedSource(*HELLO)
    async with routing(make_settings({"r": RouteSettings(targets=(to("own"),))}), own) as rig:
        await rig.submit("r")
    assert own.submissions[0].request.model == "own"


async def test_an_unknown_name_is_not_found() -> None:
    async with routing(make_settings({}), ScriptedSource()) as rig:
        with pytest.raises(HeadraceError) as caught:
            await rig.submit("nobody")
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND


async def test_a_provider_answers_by_the_contract_of_a_generation() -> None:
    a = PlayedProvider("a", says("Hello"))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        events, generation = await rig.ask("r")
        assert events == [
            GenerationStarted("vendor", 3),
            SequenceStarted(0),
            SequenceDelta(0, "Hello"),
            SequenceFinished(0, "stop"),
            GenerationFinished(Usage(3, 4)),
        ]
        record = generation.record
        assert (record.route, record.target, record.attempts, record.usage) == ("provider:a", "x", 1, Usage(3, 4))
        assert generation.rate_limits is None
        with pytest.raises(StopAsyncIteration):
            await anext(generation)
        call = a.calls[0]
        assert call.request.model == "x"
        assert call.request_id == generation.request_id
        assert 29 < call.timeout_seconds <= 30
        assert rig.facts.outcomes == [("a/x", "finished")]
        assert rig.facts.tried[0].first_token_seconds is not None


async def test_an_upstream_that_is_ill_is_asked_again_then_the_next_is() -> None:
    a, b = PlayedProvider("a", ill()), PlayedProvider("b", says("Hi"))
    route = RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"),), retries=1)
    async with routing(make_settings({"r": route}), ScriptedSource(), a, b) as rig:
        events, generation = await rig.ask("r")
        assert text_of(events) == "Hi"
        assert (generation.record.route, generation.record.attempts) == ("provider:b", 3)
        assert rig.facts.outcomes == [
            ("a/x", "provider_unavailable"),
            ("a/x", "provider_unavailable"),
            ("b/y", "finished"),
        ]


async def test_a_retry_that_works_needs_no_fallback() -> None:
    a = PlayedProvider("a", ill(), says("second"))
    route = RouteSettings(targets=(to("a/x"),), retries=1)
    async with routing(make_settings({"r": route}), ScriptedSource(), a) as rig:
        events, generation = await rig.ask("r")
        assert text_of(events) == "second"
        assert generation.record.attempts == 2


async def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for() -> None:
    a = PlayedProvider("a", ill(retry_after_seconds=5.0))
    route = RouteSettings(targets=(to("a/x"),), retries=3)
    async with routing(make_settings({"r": route}), ScriptedSource(), a) as rig:
        events, generation = await rig.ask("r", seconds=4.0)
        assert _failure(events).code == ErrorCode.PROVIDER_UNAVAILABLE
        assert len(a.calls) == 1
        assert generation.record.retry_after_seconds == 5.0


async def test_the_fault_of_a_request_is_answered_at_once() -> None:
    a = PlayedProvider("a", refuses(ErrorCode.INVALID_REQUEST, Fault.REQUEST))
    b = PlayedProvider("b")
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a, b) as rig:
        events, _ = await rig.ask("r")
        assert _failure(events).code == ErrorCode.INVALID_REQUEST
        assert not _failure(events).retryable
        assert not b.calls


@pytest.mark.parametrize("code", [ErrorCode.UNSUPPORTED_PARAMETER, ErrorCode.MODEL_NOT_FOUND])
async def test_what_one_can_not_do_another_may(code: ErrorCode) -> None:
    a = PlayedProvider("a", refuses(code, Fault.REQUEST))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        events, _ = await rig.ask("r")
        assert text_of(events) == "from b"


async def test_a_request_that_is_too_long_goes_only_to_those_who_are_for_it() -> None:
    a = PlayedProvider("a", refuses(ErrorCode.CONTEXT_LENGTH_EXCEEDED, Fault.REQUEST))
    b, near = PlayedProvider("b"), PlayedProvider("near")
    route = RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"), to("near/z", long=True)))
    async with routing(make_settings({"r": route, "short": FIRST}), ScriptedSource(), a, b, near) as rig:
        events, _ = await rig.ask("r")
        assert text_of(events) == "from near"
        events, _ = await rig.ask("short")
        assert _failure(events).code == ErrorCode.CONTEXT_LENGTH_EXCEEDED
        assert not b.calls


async def test_a_refusal_goes_to_the_next_and_the_pause_that_was_asked_for_is_kept() -> None:
    a = PlayedProvider("a", refuses(ErrorCode.RATE_LIMITED, Fault.REFUSED, retry_after_seconds=60.0))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        for _ in range(3):
            events, _ = await rig.ask("r")
            assert text_of(events) == "from b"
        assert len(a.calls) == 1
        assert [(fact.target, fact.state, fact.cause) for fact in rig.facts.turned] == [
            ("a/x", BreakerState.OPEN, "refusal")
        ]


async def test_a_refusal_without_a_pause_sets_nobody_aside() -> None:
    a = PlayedProvider("a", refuses(ErrorCode.PROVIDER_UNAVAILABLE, Fault.REFUSED))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        for _ in range(20):
            await rig.ask("r")
        assert len(a.calls) == 20
        assert not rig.facts.turned


async def test_a_breaker_opens_by_what_is_the_upstreams_fault_only() -> None:
    a = PlayedProvider("a", *[refuses(ErrorCode.INVALID_REQUEST, Fault.REQUEST)] * 9, ill())
    rules = BreakerRules(min_calls=2, ratio=0.1, open_seconds=60.0)
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a, rules=rules) as rig:
        for _ in range(9):
            await rig.ask("r")
        assert not rig.facts.turned
        await rig.ask("r")
        assert rig.facts.turned[0].state is BreakerState.OPEN
        events, _ = await rig.ask("r")
        assert text_of(events) == "from b"
        assert len(a.calls) == 10


async def test_when_all_have_failed_the_most_telling_is_answered_with_the_names() -> None:
    a = PlayedProvider("a", ill())
    b = PlayedProvider("b", refuses(ErrorCode.UNSUPPORTED_PARAMETER, Fault.REQUEST))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a, b) as rig:
        events, _ = await rig.ask("r")
        failure = _failure(events)
        assert failure.code == ErrorCode.PROVIDER_UNAVAILABLE
        assert failure.message == "it is down (tried: a/x, b/y)"
        assert failure.retryable


async def test_nothing_is_spliced_once_something_was_told() -> None:
    broken = (says("Hel")[0], says("Hel")[1], RuntimeError("a bug in an adapter"))
    a, b = PlayedProvider("a", broken), PlayedProvider("b")
    route = RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"),), retries=3)
    async with routing(make_settings({"r": route}), ScriptedSource(), a, b) as rig:
        events, generation = await rig.ask("r")
        assert text_of(events) == "Hel"
        assert events[-2:-1] == [SequenceFinished(0, "error")]
        assert _failure(events).code == ErrorCode.INTERNAL_ERROR
        assert not b.calls
        assert len(a.calls) == 1
        assert generation.record.usage == Usage(3, 1)


async def test_a_vendor_that_accepts_and_then_fails_before_a_word_has_told_nothing() -> None:
    failed = GenerationFailed("provider_error", "overloaded", "prefill", retryable=True)
    a = PlayedProvider("a", ([GenerationStarted("v", 3), SequenceStarted(0)], [SequenceFinished(0, "error"), failed]))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        events, generation = await rig.ask("r")
        assert text_of(events) == "from b"
        assert [event for event in events if isinstance(event, GenerationStarted)] == [GenerationStarted("vendor", 3)]
        assert generation.record.route == "provider:b"


async def test_an_answer_without_an_end_is_a_failure() -> None:
    a, b = PlayedProvider("a", says("Hel")[:2]), PlayedProvider("b", ())
    async with routing(
        make_settings({"r": FIRST, "s": RouteSettings(targets=(to("b/y"),), retries=0)}), ScriptedSource(), a, b
    ) as rig:
        events, _ = await rig.ask("r")
        assert _failure(events).code == ErrorCode.PROVIDER_ERROR
        events, _ = await rig.ask("s")
        assert [type(event) for event in events] == [GenerationFailed]


async def test_usage_is_counted_where_the_vendor_does_not_say() -> None:
    a = PlayedProvider("a", says("twelve bytes", usage=Usage(0, 0)))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        events, generation = await rig.ask("r")
        assert events[-1] == GenerationFinished(Usage(3, 3))
        assert generation.record.usage == Usage(3, 3)


async def test_closing_hangs_up_at_once_and_ends_the_stream() -> None:
    a = PlayedProvider("a", (*says("Hel")[:2], asyncio.Event()))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        generation = await rig.submit("r")
        while not text_of(list(await anext(generation))):
            pass
        await generation.aclose()
        await a.until(lambda: a.aborted == 1)
        assert generation.record.usage == Usage(3, 1)
        assert await read(generation) == [
            SequenceFinished(0, "cancelled"),
            GenerationFailed("cancelled", "the request was cancelled", "decode", retryable=False, usage=Usage(3, 1)),
        ]
        assert rig.facts.outcomes == [("a/x", "cancelled")]


async def test_a_run_is_cancelled_by_its_id() -> None:
    a = PlayedProvider("a", (asyncio.Event(),))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        generation = await rig.submit("r")
        await a.until(lambda: bool(a.calls))
        assert rig.source.cancel(generation.request_id)
        assert _failure(await read(generation)).code == ErrorCode.CANCELLED
        assert not rig.source.cancel(generation.request_id)


async def test_at_the_deadline_our_own_scheduler_says_why_nobody_answered() -> None:
    transport = RecordingSchedulerTransport()
    transport.depth = QueueDepth(1, 0)
    own = Scheduler(transport, models={"own": "own"}, settings=SchedulerSettings())
    await own.start()
    route = RouteSettings(targets=(to("a/x"),), fallbacks=(to("own"),), retries=0)
    async with routing(make_settings({"r": route}), own, PlayedProvider("a", ill())) as rig:
        events, _ = await rig.ask("r", seconds=0.1)
    await own.close()
    assert _failure(events).code == "deadline_exceeded"
    assert "no worker has taken work for 'own'" in _failure(events).message


async def test_the_deadline_ends_a_silent_provider_and_says_nothing_of_its_health() -> None:
    a = PlayedProvider("a", (asyncio.Event(),))
    rules = BreakerRules(min_calls=1)
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a, rules=rules) as rig:
        events, _ = await rig.ask("r", seconds=0.05)
        assert _failure(events).code == ErrorCode.DEADLINE_EXCEEDED
        await rig.facts.until(lambda: rig.facts.outcomes == [("a/x", "deadline_exceeded")])
        a.plays = [refuses(ErrorCode.DEADLINE_EXCEEDED, Fault.REQUEST)]
        events, _ = await rig.ask("r")
        assert _failure(events).code == ErrorCode.DEADLINE_EXCEEDED
        assert not rig.facts.turned


async def test_a_target_that_says_nothing_for_too_long_is_given_up_for_the_next() -> None:
    a = PlayedProvider("a", ([GenerationStarted("v", 1)], asyncio.Event()))
    route = RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"),), first_token_seconds=0.02, retries=5)
    async with routing(make_settings({"r": route}), ScriptedSource(), a) as rig:
        events, _ = await rig.ask("r")
        assert text_of(events) == "from b"
        assert rig.facts.outcomes == [("a/x", "provider_timeout"), ("b/y", "finished")]
        assert a.aborted == 1


async def test_a_slow_reader_holds_one_merged_delta() -> None:
    many = [[SequenceDelta(0, "x")] for _ in range(5000)]
    a = PlayedProvider("a", (says("")[0], *many, *says("")[2:]))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        generation = await rig.submit("r")
        await rig.facts.until(lambda: bool(rig.facts.tried))
        batch = await anext(generation)
        assert len(batch) < 80
        assert text_of(list(batch)) == "x" * 5000
        await generation.aclose()


async def test_our_own_wait_is_told_and_our_own_answer_is_passed_on() -> None:
    own = ScriptedSource(QUEUED, *HELLO)
    async with routing(make_settings({"r": OWN_FIRST}), own) as rig:
        events, generation = await rig.ask("r")
        assert events[0] == GenerationQueued(3)
        assert text_of(events) == "Hello, world"
        record = generation.record
        assert (record.route, record.target, record.attempts, record.usage) == ("own", "demo", 1, OWN_USAGE)
        assert own.submissions[0].request_id == generation.request_id
        assert own.generations[0].closed == 1


@pytest.mark.parametrize("code", [ErrorCode.OVERLOADED, ErrorCode.BROKER_UNAVAILABLE])
async def test_where_our_workers_take_nothing_the_fallback_does(code: ErrorCode) -> None:
    own = ScriptedSource()
    own.refusal = HeadraceError(code, "not now")
    async with routing(make_settings({"r": OWN_FIRST}), own) as rig:
        events, generation = await rig.ask("r")
        assert text_of(events) == "from b"
        assert (generation.record.route, generation.record.attempts) == ("provider:b", 2)


async def test_where_our_task_is_not_taken_the_fallback_does() -> None:
    own = ScriptedSource(QUEUED, [GenerationFailed("broker_unavailable", "no queue", "submit", retryable=True)])
    async with routing(make_settings({"r": OWN_FIRST}), own) as rig:
        events, _ = await rig.ask("r")
        assert text_of(events) == "from b"


async def test_what_our_workers_refuse_for_good_is_answered() -> None:
    own = ScriptedSource()
    own.refusal = HeadraceError(ErrorCode.INVALID_REQUEST, "no", param="messages")
    async with routing(make_settings({"r": OWN_FIRST}), own) as rig:
        events, _ = await rig.ask("r")
        assert (_failure(events).code, _failure(events).param) == (ErrorCode.INVALID_REQUEST, "messages")


async def test_an_expected_wait_that_is_too_long_goes_to_the_next_and_comes_back_if_that_fails() -> None:
    own, b = ScriptedSource(*HELLO), PlayedProvider("b", says("outside"), ill())
    route = RouteSettings(targets=(to("own"),), fallbacks=(to("b/y"),), on_long_wait_seconds=5, retries=0)
    async with routing(make_settings({"r": route}), own, b) as rig:
        own.queued = GenerationQueued(9, 6.0)
        events, generation = await rig.ask("r")
        assert text_of(events) == "outside"
        assert (generation.record.route, generation.record.attempts) == ("provider:b", 2)
        assert own.generations[0].closed == 1
        events, _ = await rig.ask("r")
        assert text_of(events) == "Hello, world"
        assert own.submissions[-1].request_id == f"{own.submissions[-2].request_id}-2"
        own.queued = GenerationQueued(9, 4.0)
        events, _ = await rig.ask("r")
        assert text_of(events) == "Hello, world"
        assert len(b.calls) == 2


async def test_a_wait_that_became_too_long_is_given_up_for_the_next() -> None:
    own = ScriptedSource(QUEUED, asyncio.Event())
    route = RouteSettings(targets=(to("own"),), fallbacks=(to("b/y"),), on_long_wait_seconds=0.02)
    async with routing(make_settings({"r": route}), own) as rig:
        events, _ = await rig.ask("r")
        assert text_of(events) == "from b"
        assert own.generations[0].closed == 1


async def test_the_batch_lane_waits() -> None:
    own = ScriptedSource(*HELLO)
    route = RouteSettings(targets=(to("own"),), fallbacks=(to("b/y"),), on_long_wait_seconds=1)
    own.queued = GenerationQueued(9, 99.0)
    async with routing(make_settings({"r": route}), own) as rig:
        events, _ = await rig.ask("r", lane="batch")
        assert text_of(events) == "Hello, world"


async def test_private_requests_stay() -> None:
    near = PlayedProvider("near")
    route = RouteSettings(targets=(to("a/x"),), fallbacks=(to("b/y"), to("near/z")))
    a, b = PlayedProvider("a"), PlayedProvider("b")
    async with routing(make_settings({"r": route, "away": FIRST}), ScriptedSource(), a, b, near) as rig:
        events, _ = await rig.ask("r", local_only=True)
        assert text_of(events) == "from near"
        with pytest.raises(HeadraceError) as caught:
            await rig.submit("away", local_only=True)
        assert caught.value.code is ErrorCode.FORBIDDEN
        assert not a.calls
        assert not b.calls


async def test_the_room_for_runs_is_bounded() -> None:
    a = PlayedProvider("a", (asyncio.Event(),))
    limits = SchedulerSettings(max_in_flight=1)
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a, limits=limits) as rig:
        await rig.submit("r")
        with pytest.raises(HeadraceError) as caught:
            await rig.submit("r")
        assert caught.value.code is ErrorCode.OVERLOADED


async def test_the_end_of_the_process_ends_every_run() -> None:
    a = PlayedProvider("a", (asyncio.Event(),))
    async with routing(make_settings({"r": FIRST}), ScriptedSource(), a) as rig:
        generation = await rig.submit("r")
        await a.until(lambda: bool(a.calls))
        rig.source.end_all(ErrorCode.SHUTTING_DOWN, "bye")
        assert _failure(await read(generation)).code == ErrorCode.SHUTTING_DOWN
        with pytest.raises(HeadraceError) as caught:
            await rig.submit("r")
        assert caught.value.code is ErrorCode.SHUTTING_DOWN
    assert a.closed


async def test_a_provider_that_is_taken_away_closes_after_its_last_stream() -> None:
    go_on = asyncio.Event()
    a, b = PlayedProvider("a", (*says("Hel")[:2], go_on, *says("")[2:])), PlayedProvider("b")
    settings = make_settings({"r": FIRST})
    async with routing(settings, ScriptedSource(), a, b) as rig:
        generation = await rig.submit("r")
        await a.until(lambda: bool(a.calls))
        after = make_settings({"r": RouteSettings(targets=(to("b/y"),))}, providers={"b": settings.providers["b"]})
        rig.use(after, {"b": PlayedProvider("b")})
        assert rig.made == ["a", "b", "near"], "a provider whose settings are the same stays"
        assert text_of((await rig.ask("r"))[0]) == "from b"
        assert not a.closed
        go_on.set()
        assert text_of(await read(generation)) == "Hel"
        await a.until(lambda: a.closed)
        assert not b.closed


async def test_embeddings_go_by_routes_too() -> None:
    async with routing(
        make_settings({"r": RouteSettings(targets=(to("own"),), fallbacks=(to("b/y"),))}), ScriptedSource()
    ) as rig:
        submission = make_submission("r")
        request = type(submission.request)(model="r", prompts=("text",), embedding=EmbeddingParams())
        generation = await rig.source.submit(type(submission)(request_id="e", request=request))
        await read(generation)
        assert generation.record.route == "provider:b"


def _adoption(name: str, **record: Any) -> Adoption:
    return Adoption(submission=make_submission(name), submitted_at=1.0, deadline=2.0, record=GenerationRecord(**record))


async def test_what_our_workers_run_is_adopted_under_the_name_that_they_know() -> None:
    own = ScriptedSource(*HELLO)
    async with routing(make_settings({"r": OWN_FIRST, "s": RouteSettings(targets=(to("own"),))}), own) as rig:
        await rig.source.adopt(_adoption("s", target="own", attempts=2))
        # Other targets were counted as well, and no worker knows of them.
        await rig.source.adopt(_adoption("r", target="own", attempts=2))
    assert [adoption.submission.request.model for adoption in own.adoptions] == ["own", "own"]
    assert [adoption.record.attempts for adoption in own.adoptions] == [2, 1]


@pytest.mark.parametrize("record", [{"route": "provider:a", "target": "x"}, {"attempts": 0}])
async def test_what_no_worker_of_ours_is_known_to_run_is_not_adopted(record: dict[str, Any]) -> None:
    own = ScriptedSource(*HELLO)
    async with routing(make_settings({"r": OWN_FIRST}), own) as rig:
        with pytest.raises(HeadraceError) as caught:
            await rig.source.adopt(_adoption("r", **record))
    assert caught.value.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert own.adoptions == []


async def test_a_second_task_of_ours_is_recorded_and_adopted_under_the_id_that_its_workers_know() -> None:
    own = ScriptedSource(HELLO[0], asyncio.Event())
    own.queued = GenerationQueued(3, 60.0)
    route = RouteSettings(targets=(to("own"),), fallbacks=(to("b/y"),), on_long_wait_seconds=5, retries=0)
    async with routing(make_settings({"r": route}), own, PlayedProvider("b", ill())) as rig:
        generation = await rig.submit("r")
        await own.until(lambda: len(own.generations) == 2 and own.generations[1].read >= 2)
        request_id, record = generation.request_id, generation.record
        assert record.task_id == own.generations[1].request_id == f"{request_id}-2"
        assert rig.source.task_id_of(request_id) == record.task_id
        await generation.aclose()
    other = ScriptedSource(*HELLO)
    async with routing(make_settings({"r": route}), other) as rig:
        adoption = _adoption("r")
        adoption = structs.replace(
            adoption, submission=structs.replace(adoption.submission, request_id=request_id), record=record
        )
        adopted = await rig.source.adopt(adoption)
        assert [item.submission.request_id for item in other.adoptions] == [record.task_id]
        assert (adopted.request_id, adopted.record.task_id) == (request_id, record.task_id)
        assert rig.source.task_id_of(request_id) == record.task_id
        rig.source.cancel(request_id)
        assert other.cancelled == [record.task_id]
        assert text_of(await read(adopted)) == "Hello, world"
        assert rig.source.task_id_of(request_id) == request_id
        await adopted.aclose()


@pytest.mark.parametrize(("asked", "retained"), [(True, False), (False, True), (False, False)])
async def test_signatures_are_kept_for_whoever_comes_back(*, asked: bool, retained: bool) -> None:
    provider = PlayedProvider("a", says("yes"))
    async with routing(make_settings({"r": RouteSettings(targets=(to("a/x"),))}), ScriptedSource(), provider) as rig:
        submission = make_submission("r")
        request = structs.replace(submission.request, output=OutputFlags(signatures=asked))
        await read(await rig.source.submit(structs.replace(submission, request=request, retained=retained)))
    assert provider.calls[0].request.output == OutputFlags(signatures=asked or retained)

"""What a worker leaves of a generation whose scheduler is gone, over memory and RabbitMQ, with the scripted engine."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from headrace.scheduler.base import Submission
from headrace.schema.events import Event, GenerationFinished, GenerationStarted, SequenceDelta, Usage
from headrace.schema.last_word import LastWord
from headrace.schema.request import GenerationParameters
from headrace.schema.settings import BrokerSettings
from headrace.transport.last_words import MemoryLastWords
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.rig import WAIT_SECONDS, Rig, Worker, read, read_until_text, running_rig
from tests.support.recorders import Recorder
from tests.support.values import fresh_name, make_request

# At two milliseconds a token: longer than any test.
ENDLESS = 50_000


class Words(MemoryLastWords, Recorder):
    """Says when a word is left."""

    def __init__(self) -> None:
        MemoryLastWords.__init__(self)
        Recorder.__init__(self)
        self.left: list[LastWord] = []

    async def leave(self, words: Sequence[LastWord]) -> None:
        self.left += words
        self.changed()

    async def until_left(self) -> LastWord:
        await self.until(lambda: bool(self.left))
        return self.left[-1]


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    async with running_rig(harness) as rig:
        yield rig


@pytest.fixture
def words() -> Words:
    return Words()


async def die(rig: Rig) -> None:
    """Let the scheduler's process vanish, as far as anybody can see it."""
    await rig.transport.close()


def count_told(events: Sequence[Event]) -> int:
    return sum(len(event.text.split()) for event in events if isinstance(event, SequenceDelta))


def input_tokens_of(events: Sequence[Event]) -> int:
    return next(event.input_tokens for event in events if isinstance(event, GenerationStarted))


async def ran_tokens(worker: Worker, request_id: str) -> int:
    await worker.ran.until(lambda: request_id in worker.ran.outcomes)
    return next(fact.output_tokens for fact in worker.ran.facts if fact.request_id == request_id)


async def test_all_that_the_engine_made_is_in_the_word(rig: Rig, words: Words) -> None:
    worker = await rig.start_worker(last_words=words)
    generation = await rig.submit("one two three", tokens=ENDLESS, n=2)
    told = await read_until_text(generation)
    await die(rig)
    word = await words.until_left()
    assert (word.request_id, word.attempt, word.worker_id) == (generation.request_id, 1, worker.worker_id)
    assert word.model == rig.model
    assert word.usage.input_tokens == input_tokens_of(told)
    assert word.usage.output_tokens == await ran_tokens(worker, generation.request_id) >= count_told(told)
    assert len(words.left) == 1


async def test_what_ends_before_its_reader_is_missed_has_a_word(rig: Rig, words: Words) -> None:
    await rig.start_worker(last_words=words)
    # Of several candidates nothing is told before all of them are whole.
    generation = await rig.submit(tokens=60, best_of=3)
    async with asyncio.timeout(WAIT_SECONDS):
        first = await anext(generation)
    assert isinstance(first[0], GenerationStarted)
    await die(rig)
    word = await words.until_left()
    assert word.usage == Usage(input_tokens_of(first), 180)


async def test_a_word_counts_what_earlier_attempts_told(rig: Rig, words: Words) -> None:
    first = await rig.start_worker(drain_seconds=0.05)
    generation = await rig.submit(tokens=ENDLESS)
    told = count_told(await read_until_text(generation))
    second = await rig.start_worker(last_words=words)
    first.stop.set()
    await first.wait_ended()
    while told < 200:
        async with asyncio.timeout(WAIT_SECONDS):
            told += count_told(await anext(generation))
    await die(rig)
    word = await words.until_left()
    assert (word.attempt, word.worker_id) == (2, second.worker_id)
    assert word.usage.output_tokens == await ran_tokens(second, generation.request_id) >= told


async def test_what_was_read_to_its_end_has_none(rig: Rig, words: Words) -> None:
    worker = await rig.start_worker(last_words=words)
    generation = await rig.submit(tokens=20)
    assert isinstance((await read(generation))[-1], GenerationFinished)
    cancelled = await rig.submit(tokens=ENDLESS)
    await read_until_text(cancelled)
    await cancelled.aclose()
    await worker.ran.until(lambda: len(worker.ran.facts) == 2)
    await die(rig)
    worker.stop.set()
    await worker.wait_ended()
    assert words.left == []


async def test_what_is_retained_has_none_while_it_may_be_adopted(rig: Rig, words: Words) -> None:
    worker = await rig.start_worker(last_words=words, drain_seconds=0.05)
    parameters = GenerationParameters(provider_extensions={"scripted": {"tokens": ENDLESS}})
    request = make_request(rig.model, "Hello", parameters)
    submission = Submission(request_id=fresh_name("gen"), request=request, timeout_seconds=60.0, retained=True)
    await read_until_text(await rig.scheduler.submit(submission))
    # It dies with its scheduler; a second one, which is not retained, shows when the worker has noticed.
    other = await rig.submit(tokens=ENDLESS)
    await read_until_text(other)
    await die(rig)
    assert (await words.until_left()).request_id == other.request_id
    worker.stop.set()
    await worker.wait_ended()
    assert [word.request_id for word in words.left] == [other.request_id]


async def test_what_is_retained_has_one_when_nobody_adopts_it(rig: Rig, words: Words) -> None:
    worker = await rig.start_worker(last_words=words)
    parameters = GenerationParameters(provider_extensions={"scripted": {"tokens": ENDLESS}})
    request = make_request(rig.model, "Hello", parameters)
    submission = Submission(request_id=fresh_name("gen"), request=request, timeout_seconds=2.0, retained=True)
    told = await read_until_text(await rig.scheduler.submit(submission))
    await die(rig)
    word = await words.until_left()
    assert word.request_id == submission.request_id
    assert word.usage.output_tokens == await ran_tokens(worker, submission.request_id) >= count_told(told)

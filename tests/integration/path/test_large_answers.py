"""Answers that are too large for the broker, from the engine to the reader."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.scheduler.base import Generation, Submission
from headrace.schema.events import GenerationFinished, PromptEmbedded
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams
from headrace.schema.settings import BrokerSettings
from headrace.transport.objects import FileObjectStore, ObjectStoreError, PayloadStore
from headrace.transport.replies import LargeReplies
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.rig import Rig, read, running_rig, text_of
from tests.support.values import fresh_name

PROMPTS = tuple(f"number {n}" for n in range(64))
DIMENSIONS = 256
THRESHOLD = 16 * 1024


class CountingStore(FileObjectStore):
    """A folder that counts what is put into it, and can be away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.replies = 0
        self.is_away = False

    async def put(self, name: str, data: bytes) -> None:
        self.replies += name.startswith("replies/")
        if self.is_away:
            raise ObjectStoreError("it is away")
        await super().put(name, data)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path)


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def rig(request: pytest.FixtureRequest, store: CountingStore) -> AsyncIterator[Rig]:
    large = LargeReplies(PayloadStore(store), threshold_bytes=THRESHOLD)
    if request.param == "memory":
        harness: Harness = MemoryHarness(large)
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings, large=large)
    async with running_rig(harness, store) as rig:
        yield rig


async def embed(rig: Rig) -> Generation:
    request = ChatCompletionRequest(model=rig.model, prompts=PROMPTS, embedding=EmbeddingParams(dimensions=DIMENSIONS))
    return await rig.scheduler.submit(Submission(request_id=fresh_name("gen"), request=request, timeout_seconds=30))


async def check_vectors(generation: Generation) -> None:
    events = await read(generation)
    vectors = {event.index: event.vector for event in events if isinstance(event, PromptEmbedded)}
    assert list(vectors) == list(range(len(PROMPTS)))
    assert {len(vector) for vector in vectors.values()} == {DIMENSIONS * 4}
    assert isinstance(events[-1], GenerationFinished)


async def test_a_large_answer_arrives_whole_and_leaves_nothing(rig: Rig, store: CountingStore, tmp_path: Path) -> None:
    await rig.start_worker()
    generations = [await embed(rig) for _ in range(3)]
    await asyncio.gather(*(check_vectors(generation) for generation in generations))
    assert store.replies == 3
    assert text_of(await read(await rig.submit(text="Small."))) == "Small."
    assert store.replies == 3
    async with asyncio.timeout(10):
        while await asyncio.to_thread(_files_in, tmp_path):
            pass


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_large_answer_travels_through_the_broker_while_the_store_is_away(
    rig: Rig, store: CountingStore
) -> None:
    await rig.start_worker()
    store.is_away = True
    await check_vectors(await embed(rig))

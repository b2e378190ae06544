"""A scheduler and workers over one transport, with the scripted engine: the queue path without HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import structs

from headrace.scheduler.base import Generation, Submission
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.scheduler import Scheduler
from headrace.scheduler.silence import SILENT_SECONDS
from headrace.schema.caller import Caller
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)
from headrace.schema.names import Lane
from headrace.schema.request import BeamSearchParams, GenerationParameters, OutputFlags
from headrace.schema.settings import ObjectSettings, SchedulerSettings
from headrace.transport.base import SchedulerTransport, WorkerTransport
from headrace.transport.last_words import LastWords
from headrace.transport.objects import ObjectStore, PayloadStore
from headrace.transport.tasks import TaskOwner
from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.scripted import Script, ScriptedEngine
from headrace.worker.observer import GenerationPaused, GenerationRan, GenerationResumed, IntakeSwitched
from headrace.worker.replica import Replica
from headrace.worker.station import Station
from tests.contract.transport.harness import Harness
from tests.support.recorders import Recorder
from tests.support.values import fresh_name, make_request

WAIT_SECONDS = 20


class RanRecorder(Recorder):
    """A `WorkerObserver` that keeps the facts."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[GenerationRan] = []
        self.paused: list[str] = []
        self.resumed: list[str] = []
        self.intake: list[IntakeSwitched] = []

    @property
    def outcomes(self) -> dict[str, str]:
        return {fact.request_id: fact.outcome for fact in self.facts}

    def generation_ran(self, fact: GenerationRan) -> None:
        self.facts.append(fact)
        self.changed()

    def generation_paused(self, fact: GenerationPaused) -> None:
        self.paused.append(fact.request_id)
        self.changed()

    def generation_resumed(self, fact: GenerationResumed) -> None:
        self.resumed.append(fact.request_id)
        self.changed()

    def intake_switched(self, fact: IntakeSwitched) -> None:
        self.intake.append(fact)
        self.changed()


class CountingEngine(ScriptedEngine):
    """Remembers the jobs that it was given."""

    def __init__(self, script: Script, *, slots: int, max_model_tokens: int) -> None:
        super().__init__(script, slots=slots, max_model_tokens=max_model_tokens)
        self.jobs: list[str] = []

    def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        self.jobs.append(job.request_id)
        return super().generate(job)


class Worker:
    """One running replica."""

    def __init__(
        self,
        harness: Harness,
        models: Sequence[str],
        *,
        slots: int,
        drain_seconds: float,
        payloads: PayloadStore | None = None,
        batch_slots: int = 0,
        kv_tokens: int = 0,
        patience_seconds: float = 60.0,
        last_words: LastWords | None = None,
        transport: WorkerTransport | None = None,
    ) -> None:
        self.ran = RanRecorder()
        self.stop = asyncio.Event()
        self.worker_id = fresh_name("worker")
        script = Script(step_seconds=0.002, kv_tokens=kv_tokens)
        self._engines = [CountingEngine(script, slots=slots, max_model_tokens=100_000) for _ in models]
        self._replica = Replica(
            [
                Station(
                    engine,
                    model=model,
                    batch_slots=batch_slots,
                    patience_seconds=patience_seconds,
                    observers=[self.ran],
                )
                for engine, model in zip(self._engines, models, strict=True)
            ],
            transport or harness.worker_side(),
            worker_id=self.worker_id,
            drain_seconds=drain_seconds,
            observers=[self.ran],
            payloads=payloads,
            last_words=last_words,
        )
        self.failure: BaseException | None = None
        self._ended = asyncio.Event()

    @property
    def jobs(self) -> list[str]:
        return [job for engine in self._engines for job in engine.jobs]

    async def crash(self) -> None:
        """Let its engines die under what they run."""
        for engine in self._engines:
            await engine.close()
        await self.wait_ended()

    async def run(self) -> None:
        try:
            await self._replica.run(self.stop)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.failure = error
        finally:
            self._ended.set()

    async def wait_ready(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self._replica.ready.wait()

    async def wait_ended(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self._ended.wait()


class Rig:
    """Starts parts, and ends them all."""

    def __init__(
        self, harness: Harness, objects: ObjectStore | None = None, settings: SchedulerSettings | None = None
    ) -> None:
        self.harness = harness
        self.objects = objects
        self.model, self.other_model = fresh_name("model"), fresh_name("other")
        self.transport = harness.scheduler_side([self.model, self.other_model])
        self.scheduler = Scheduler(
            self.transport,
            models={self.model: self.model, self.other_model: self.other_model},
            settings=settings or SchedulerSettings(),
            large=None if objects is None else LargeRequests(PayloadStore(objects), ObjectSettings()),
            levels=harness.levels,
        )
        self._workers: list[Worker] = []
        self._tasks = TaskOwner()

    def another_scheduler(
        self, transport: SchedulerTransport, settings: SchedulerSettings, *, silent_seconds: float = SILENT_SECONDS
    ) -> Scheduler:
        """One of another gateway; the test starts and closes it."""
        models = {self.model: self.model}
        return Scheduler(
            transport, models=models, settings=settings, levels=self.harness.levels, silent_seconds=silent_seconds
        )

    async def start_worker(
        self, models: Sequence[str] = (), *, slots: int = 4, drain_seconds: float = 10.0, **options: Any
    ) -> Worker:
        payloads = None if self.objects is None else PayloadStore(self.objects)
        worker = Worker(
            self.harness,
            models or [self.model],
            slots=slots,
            drain_seconds=drain_seconds,
            payloads=payloads,
            **options,
        )
        self._workers.append(worker)
        self._tasks.start(worker.run(), name=worker.worker_id)
        await worker.wait_ready()
        return worker

    async def submit(
        self,
        prompt: str = "Hello",
        *,
        priority: int | None = None,
        seconds: float = 30.0,
        n: int = 1,
        seed: int | None = None,
        tenant: str = "",
        asks_position: bool = False,
        scheduler: Scheduler | None = None,
        lane: Lane = "online",
        model: str = "",
        best_of: int | None = None,
        beams: int = 0,
        **scripted: Any,
    ) -> Generation:
        parameters = GenerationParameters(
            n=n,
            seed=seed,
            best_of=best_of,
            beam_search=BeamSearchParams(width=beams) if beams else None,
            provider_extensions={"scripted": scripted} if scripted else {},
        )
        submission = Submission(
            request_id=fresh_name("gen"),
            request=structs.replace(
                make_request(model or self.model, prompt, parameters),
                output=OutputFlags(queue_position=asks_position),
            ),
            priority=priority,
            timeout_seconds=seconds,
            caller=Caller(tenant_id=tenant),
            lane=lane,
        )
        return await (scheduler or self.scheduler).submit(submission)

    async def close(self) -> None:
        await self.scheduler.close()
        for worker in self._workers:
            worker.stop.set()
        await self._tasks.join()


@asynccontextmanager
async def running_rig(
    harness: Harness, objects: ObjectStore | None = None, settings: SchedulerSettings | None = None
) -> AsyncGenerator[Rig]:
    rig = Rig(harness, objects, settings)
    await rig.scheduler.start()
    await rig.transport.wait_ready()
    try:
        yield rig
    finally:
        await rig.close()


async def read(generation: Generation) -> list[Event]:
    """Read a generation to its end."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [event async for batch in generation for event in batch]


async def read_until_text(generation: Generation) -> list[Event]:
    """Read a generation until there is text."""
    events: list[Event] = []
    async with asyncio.timeout(WAIT_SECONDS):
        async for batch in generation:
            events.extend(batch)
            if any(isinstance(event, SequenceDelta) for event in batch):
                return events
    raise AssertionError(f"the generation ended without text: {events}")


def text_of(events: Sequence[Event], index: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, SequenceDelta) and event.index == index)


def check_once(events: Sequence[Event]) -> None:
    """Each token once, each sequence started and finished once, and one end."""
    kinds = [type(event) for event in events]
    assert kinds.count(GenerationStarted) == kinds.count(GenerationFinished) == 1
    for kind in (SequenceStarted, SequenceFinished):
        indexes = [event.index for event in events if isinstance(event, kind)]
        assert len(indexes) == len(set(indexes))
    assert isinstance(events[-1], GenerationFinished)

"""A scheduler that plays a script, and observers and apps to go with it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
from litestar import Litestar

from headrace.gateway.app import GatewayParts, create_app
from headrace.gateway.draining import Draining
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.scheduler.base import Adoption, GenerationRecord, GenerationSource, Submission
from headrace.schema.caller import RateLimits
from headrace.schema.errors import HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Timings,
    Usage,
)
from headrace.schema.settings import GatewaySettings, ModelSettings
from headrace.transport.records import Records
from tests.support.recorders import Recorder

# A batch of events, something to wait for, or an exception that no source should raise.
Step = Sequence[Event] | asyncio.Event | Exception

USAGE = Usage(input_tokens=5, output_tokens=7, cached_tokens=2)
TIMINGS = Timings(queue_seconds=0.25, first_token_seconds=0.5, total_seconds=1.5)
HELLO: tuple[Step, ...] = (
    (GenerationStarted("worker-1", 5), SequenceStarted(0)),
    (SequenceDelta(0, "Hello", (1,)), SequenceDelta(0, ", world", (2, 3))),
    (SequenceFinished(0, "stop", "END"), GenerationFinished(USAGE, TIMINGS)),
)
MODELS = {
    "demo": ModelSettings(weights="tiny:random", created=1700000000, owned_by="us"),
    "org/large": ModelSettings(weights="tiny:random", created=1700000001, owned_by="them"),
}
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "a secret prompt"}]}


class ScriptedGeneration:
    """A `Generation` that plays its steps, and then a last one again and again if there is one."""

    def __init__(
        self, request_id: str, steps: Sequence[Step], repeated: Sequence[Event] | None, source: "ScriptedSource"
    ) -> None:
        self._request_id = request_id
        self._steps = list(steps)
        self._repeated = repeated
        self._source = source
        self.read = 0
        self.closed = 0

    @property
    def request_id(self) -> str:
        return self._request_id

    @property
    def record(self) -> GenerationRecord:
        return GenerationRecord(target="demo", usage=USAGE)

    @property
    def rate_limits(self) -> RateLimits | None:
        return None

    @property
    def queued(self) -> GenerationQueued | None:
        self._source.waits_told += 1
        self._source.changed()
        return self._source.queued

    def __aiter__(self) -> "ScriptedGeneration":
        return self

    async def __anext__(self) -> Sequence[Event]:
        self.read += 1
        self._source.changed()
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, Exception):
                raise step
            else:
                return step
        if self._repeated is None:
            raise StopAsyncIteration
        # A stream that is always ready still lets others run.
        await asyncio.sleep(0)
        return self._repeated

    async def aclose(self) -> None:
        self.closed += 1
        self._source.changed()


class ScriptedSource(Recorder):
    """A `GenerationSource` that plays one script for every submission."""

    def __init__(self, *steps: Step, repeated: Sequence[Event] | None = None) -> None:
        super().__init__()
        self.steps = steps
        self.repeated = repeated
        self.refusal: HeadraceError | None = None
        self.queued: GenerationQueued | None = None
        self.waits_told = 0
        self.submissions: list[Submission] = []
        self.generations: list[ScriptedGeneration] = []
        self.adoptions: list[Adoption] = []
        self.running: set[str] = set()
        self.cancelled: list[str] = []

    async def submit(self, submission: Submission) -> ScriptedGeneration:
        self.submissions.append(submission)
        if self.refusal is not None:
            raise self.refusal
        generation = ScriptedGeneration(submission.request_id, self.steps, self.repeated, self)
        self.generations.append(generation)
        self.changed()
        return generation

    async def adopt(self, adoption: Adoption) -> ScriptedGeneration:
        self.adoptions.append(adoption)
        return await self.submit(adoption.submission)

    def cancel(self, request_id: str) -> bool:
        self.cancelled.append(request_id)
        return request_id in self.running

    async def check(self) -> None:
        pass


def make_app(
    source: GenerationSource,
    *,
    settings: GatewaySettings | None = None,
    checks: Mapping[str, Callable[[], Awaitable[None]]] | None = None,
    optional_checks: Mapping[str, Callable[[], Awaitable[None]]] | None = None,
    draining: Draining | None = None,
    retained: RetainedGenerations | None = None,
    records: Records | None = None,
) -> Litestar:
    return create_app(
        GatewayParts(
            source=source,
            models=MODELS,
            settings=settings or GatewaySettings(),
            version="1.2.3",
            checks=checks or {},
            optional_checks=optional_checks or {},
            max_timeout_seconds=100.0,
            draining=draining or Draining(),
            retained=retained,
            records=records,
        )
    )


def open_client(app: Litestar) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")  # pyright: ignore[reportArgumentType]

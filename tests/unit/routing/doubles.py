"""Providers that play a script, and what it takes to route to them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from headrace.gateway.routing.breaker import BreakerRules
from headrace.gateway.routing.facts import TargetTried, TargetTurned
from headrace.gateway.routing.leases import ProviderPool
from headrace.gateway.routing.run import RunParts
from headrace.gateway.routing.source import RoutedSource, Routing
from headrace.gateway.routing.table import build_routes
from headrace.providers.base import Fault, ProviderCall, ProviderError
from headrace.scheduler.base import Generation, GenerationSource, Submission
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.names import Lane
from headrace.schema.settings import (
    ModelSettings,
    ProviderSettings,
    RouteSettings,
    SchedulerSettings,
    Settings,
    TargetSettings,
)
from tests.support.recorders import Recorder
from tests.support.values import fresh_name, make_request

Step = Sequence[Event] | asyncio.Event | Exception
Play = Sequence[Step]

USAGE = Usage(3, 4)
LOCAL = ProviderSettings(kind="openai", base_url="http://127.0.0.1:1/v1")
REMOTE = ProviderSettings(kind="openai")


def says(text: str, usage: Usage = USAGE) -> Play:
    return (
        [GenerationStarted("vendor", 3), SequenceStarted(0)],
        [SequenceDelta(0, text)],
        [SequenceFinished(0, "stop"), GenerationFinished(usage)],
    )


def ill(retry_after_seconds: float | None = None) -> Play:
    return (
        ProviderError(
            ErrorCode.PROVIDER_UNAVAILABLE, "it is down", fault=Fault.UPSTREAM, retry_after_seconds=retry_after_seconds
        ),
    )


def refuses(code: ErrorCode, fault: Fault, retry_after_seconds: float | None = None) -> Play:
    return (ProviderError(code, f"it says {code}", fault=fault, retry_after_seconds=retry_after_seconds),)


class PlayedProvider(Recorder):
    """A `Provider` that plays one script after the other, and the last one again and again."""

    def __init__(self, name: str, *plays: Play) -> None:
        super().__init__()
        self._name = name
        self.plays = list(plays) or [says(f"from {name}")]
        self.calls: list[ProviderCall] = []
        self.aborted = 0
        self.closed = False

    @property
    def name(self) -> str:
        return self._name

    async def generate(self, call: ProviderCall) -> AsyncGenerator[list[Event], None]:
        self.calls.append(call)
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        self.changed()
        try:
            for step in play:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield list(step)
        except (GeneratorExit, asyncio.CancelledError):
            self.aborted += 1
            self.changed()
            raise

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True
        self.changed()


class FactRecorder(Recorder):
    """A `RoutingObserver`."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[TargetTried] = []
        self.turned: list[TargetTurned] = []

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(fact.target, fact.outcome) for fact in self.tried]

    def target_tried(self, fact: TargetTried) -> None:
        self.tried.append(fact)
        self.changed()

    def target_turned(self, fact: TargetTurned) -> None:
        self.turned.append(fact)
        self.changed()


def to(name: str, *, weight: float = 1.0, long: bool = False) -> TargetSettings:
    """A target: `own`, or `provider/model`."""
    return TargetSettings(model=name, weight=weight, for_long_context=long)


def make_settings(
    routes: Mapping[str, RouteSettings],
    *,
    models: Mapping[str, ModelSettings] | None = None,
    providers: Mapping[str, ProviderSettings] | None = None,
) -> Settings:
    return Settings(
        models=dict(models if models is not None else {"own": ModelSettings(weights="tiny:random")}),
        providers=dict(providers if providers is not None else {"a": REMOTE, "b": REMOTE, "near": LOCAL}),
        routes=dict(routes),
    )


async def _do_not_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


class Rig:
    """A `RoutedSource` over a source of ours and played providers."""

    def __init__(
        self,
        settings: Settings,
        own: GenerationSource,
        providers: Mapping[str, PlayedProvider],
        *,
        rules: BreakerRules | None,
        random: Callable[[], float],
        limits: SchedulerSettings | None,
    ) -> None:
        self.facts = FactRecorder()
        self.providers = providers
        self.made: list[str] = []
        self.pool = ProviderPool(self._make, rules=rules or BreakerRules(), observers=[self.facts])
        leases = self.pool.prepare(settings.providers)
        self.pool.adopt(leases)
        parts = RunParts(own=own, random=random, sleep=_do_not_sleep, observers=[self.facts])
        table = Routing(routes=build_routes(settings), providers=leases)
        self.source = RoutedSource(parts, routing=table, settings=limits or SchedulerSettings())

    def _make(self, name: str, settings: ProviderSettings) -> PlayedProvider:
        self.made.append(name)
        return self.providers[name]

    def use(self, settings: Settings, providers: Mapping[str, PlayedProvider]) -> None:
        """Reload."""
        self.providers = providers
        leases = self.pool.prepare(settings.providers)
        self.source.use(Routing(routes=build_routes(settings), providers=leases))
        self.pool.adopt(leases)

    async def submit(
        self, model: str, *, seconds: float = 30.0, local_only: bool = False, lane: Lane = "online"
    ) -> Generation:
        submission = make_submission(model, seconds=seconds, local_only=local_only, lane=lane)
        return await self.source.submit(submission)

    async def ask(
        self, model: str, *, seconds: float = 30.0, local_only: bool = False, lane: Lane = "online"
    ) -> tuple[list[Event], Generation]:
        generation = await self.submit(model, seconds=seconds, local_only=local_only, lane=lane)
        return await read(generation), generation

    async def close(self) -> None:
        await self.source.close()
        await self.pool.close()


@asynccontextmanager
async def routing(
    settings: Settings,
    own: GenerationSource,
    *providers: PlayedProvider,
    rules: BreakerRules | None = None,
    random: Callable[[], float] = lambda: 0.0,
    limits: SchedulerSettings | None = None,
) -> AsyncGenerator[Rig]:
    known = {provider.name: provider for provider in providers}
    for name in settings.providers:
        known.setdefault(name, PlayedProvider(name))
    rig = Rig(settings, own, known, rules=rules, random=random, limits=limits)
    try:
        yield rig
    finally:
        await rig.close()


def make_submission(
    model: str, *, seconds: float | None = 30.0, local_only: bool = False, lane: Lane = "online"
) -> Submission:
    return Submission(
        request_id=fresh_name("gen"),
        request=make_request(model),
        timeout_seconds=seconds,
        local_only=local_only,
        lane=lane,
    )


async def read(generation: Generation) -> list[Event]:
    """Read a generation to its end, and close it."""
    async with asyncio.timeout(20):
        events = [event async for batch in generation for event in batch]
    await generation.aclose()
    return events


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, SequenceDelta))

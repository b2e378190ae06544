"""What is private never leaves, whatever the routes are, whoever fails, and however often the settings change."""

import asyncio
import contextlib
import random as chance

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.providers.base import Fault
from headrace.scheduler.base import Submission
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed, GenerationQueued
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams
from headrace.schema.settings import ModelSettings, ProviderSettings, RouteSettings, Settings, TargetSettings
from headrace.schema.settings.route_checks import RouteNames, find_route_problems
from tests.support.values import fresh_name
from tests.unit.gateway.doubles import HELLO, ScriptedSource
from tests.unit.routing.doubles import Play, PlayedProvider, ill, read, refuses, routing, says

NAMES = ("p", "q", "r", "s")
MODELS = {
    "own": ModelSettings(weights="tiny:random"),
    "vectors": ModelSettings(weights="tiny:random", task="embed"),
}
PLAYS: tuple[Play, ...] = (
    says("fine"),
    ill(),
    refuses(ErrorCode.RATE_LIMITED, Fault.REFUSED, 0.001),
    refuses(ErrorCode.UNSUPPORTED_PARAMETER, Fault.REQUEST),
    refuses(ErrorCode.CONTEXT_LENGTH_EXCEEDED, Fault.REQUEST),
    ([GenerationFailed("provider_error", "late", "prefill", retryable=True)],),
    (),
)


@st.composite
def tables(draw: st.DrawFn) -> Settings:
    """Any routing table that the settings allow."""
    providers = {
        name: ProviderSettings(
            kind="openai",
            is_local=draw(st.sampled_from([True, False, None])),
            base_url=draw(st.sampled_from(["", "http://127.0.0.1:9/v1", "https://vendor.example/v1"])),
            models=("m",),
        )
        for name in NAMES
    }
    routes: dict[str, RouteSettings] = {}
    # A route may lead to those that were made before it, so there is no cycle.
    for route in ("one", "two", "three"):
        names = st.sampled_from([*MODELS, *(f"{name}/m" for name in NAMES), *routes])
        first = draw(st.builds(TargetSettings, model=names, weight=st.sampled_from([1.0, 5.0])))
        others = st.builds(
            TargetSettings, model=names, weight=st.sampled_from([0.0, 1.0]), for_long_context=st.booleans()
        )
        fallbacks = st.builds(TargetSettings, model=names, for_long_context=st.booleans())
        routes[route] = RouteSettings(
            targets=(first, *draw(st.lists(others, max_size=3))),
            fallbacks=tuple(draw(st.lists(fallbacks, max_size=3))),
            on_long_wait_seconds=draw(st.sampled_from([0.0, 1.0])),
            retries=draw(st.integers(0, 1)),
        )
    assert not list(find_route_problems(RouteNames(models=MODELS, providers=providers, routes=routes)))
    return Settings(models=MODELS, providers=providers, routes=routes)


@st.composite
def requests(draw: st.DrawFn) -> ChatCompletionRequest:
    model = draw(st.sampled_from(["one", "two", "three", "own", "vectors", *(f"{name}/m" for name in NAMES)]))
    if draw(st.booleans()):
        return ChatCompletionRequest(model=model, prompts=("text",), embedding=EmbeddingParams())
    return ChatCompletionRequest(model=model, messages=(Message("user", "secret"),), count_only=draw(st.booleans()))


@settings(max_examples=100)
@given(data=st.data())
def test_no_provider_that_is_not_local_is_ever_called(data: st.DataObject) -> None:
    asyncio.run(_ask_privately(data))


async def _ask_privately(data: st.DataObject) -> None:
    table, after = data.draw(tables()), data.draw(tables())
    own = ScriptedSource(*HELLO)
    if data.draw(st.booleans()):
        own.refusal = HeadraceError(ErrorCode.OVERLOADED, "full")
    wait = data.draw(st.sampled_from([None, 0.5, 99.0]))
    own.queued = None if wait is None else GenerationQueued(1, wait)

    def play() -> dict[str, PlayedProvider]:
        return {name: PlayedProvider(name, data.draw(st.sampled_from(PLAYS))) for name in NAMES}

    first, second = play(), play()
    draw = chance.Random(data.draw(st.integers(0, 1000)))  # noqa: S311 - a draw that can be made again

    async with routing(table, own, *first.values(), random=draw.random) as rig:
        for step in range(4):
            if step == 2:
                rig.use(after, second)
            is_of_key = data.draw(st.booleans())
            submission = Submission(
                request_id=fresh_name("gen"),
                request=data.draw(requests()),
                timeout_seconds=20.0,
                caller=Caller(local_only=is_of_key),
                local_only=not is_of_key,
            )
            with contextlib.suppress(HeadraceError):
                await read(await rig.source.submit(submission))
        for made, now in ((first, table), (second, after)):
            for name, provider in made.items():
                assert not provider.calls or now.providers[name].counts_as_local, name


async def test_a_provider_that_moves_away_takes_nothing_private_along() -> None:
    """A request that began while the provider was local finds the one that it began with, or nobody."""
    near = ProviderSettings(kind="openai", is_local=True)
    far = ProviderSettings(kind="openai", is_local=False)
    route = RouteSettings(targets=(TargetSettings(model="m", provider="p"),), retries=1)
    failing = asyncio.Event()
    before = PlayedProvider("p", (failing, *ill()), says("still near"))
    after = PlayedProvider("p")
    table = Settings(models=MODELS, providers={"p": near}, routes={"r": route})
    async with routing(table, ScriptedSource(), before) as rig:
        generation = await rig.submit("r", local_only=True)
        await before.until(lambda: bool(before.calls))
        rig.use(Settings(models=MODELS, providers={"p": far}, routes={"r": route}), {"p": after})
        failing.set()
        await read(generation)
        assert len(before.calls) == 2
        assert not after.calls
        await before.until(lambda: before.closed)

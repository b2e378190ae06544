"""One generation's way through the gate and the engine: in one turn, or in several with pauses between them."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

from msgspec import structs

from headrace.schema.events import Event
from headrace.worker.engines.base import Engine, EngineJob
from headrace.worker.engines.best_of import generate_best
from headrace.worker.gate import EngineGate, Place
from headrace.worker.retelling import Retelling

Tell = Callable[[list[Event]], None]


class TurnListener(Protocol):
    """Learns how a generation fares."""

    def begin(self) -> None:
        """It runs, for the first time or again."""
        ...

    def wait(self) -> None:
        """It waits for a place: at first, or because it was paused."""
        ...


async def run_in_turns(engine: Engine, gate: EngineGate, job: EngineJob, *, tell: Tell, listener: TurnListener) -> None:
    """Run a job to its end, and tell each event once.

    A job of the batch lane is paused where an online one needs its place. If its engine can go on with what was told of
    it, it is taken out of the engine, and goes on later where it stood; else the engine holds it where it stands.

    Raises:
        HeadraceError: the job can't be run, or failed.
        EngineDeadError: the engine is dead.
    """
    if job.lane == "online":
        run = _run_at_once
    elif engine.can_continue(job.request):
        run = _run_with_seams
    else:
        run = _run_held
    place = gate.arrive(lane=job.lane, priority=job.priority)
    try:
        await run(engine, job, place, tell, listener)
    finally:
        place.close()


async def _run_at_once(engine: Engine, job: EngineJob, place: Place, tell: Tell, listener: TurnListener) -> None:
    await _enter(place, listener)
    async with aclosing(generate_best(engine, job)) as batches:
        async for events in batches:
            place.accept()
            tell(events)


async def _enter(place: Place, listener: TurnListener) -> None:
    if not place.enter_at_once():
        listener.wait()
        await place.enter()
    listener.begin()


async def _run_with_seams(engine: Engine, job: EngineJob, place: Place, tell: Tell, listener: TurnListener) -> None:
    """Run a job that is ended to pause it, and told again from its start to go on."""
    told = Retelling(job.told)
    while not told.is_over:
        await _enter(place, listener)
        await _take_turn(engine, structs.replace(job, told=told.begin_turn()), place, tell, told)
        if not told.is_over:
            place.pause()


async def _take_turn(engine: Engine, job: EngineJob, place: Place, tell: Tell, told: Retelling) -> None:
    """Run until the end, or until the place is wanted."""
    loop = asyncio.get_running_loop()
    turn = asyncio.timeout(None)
    try:
        async with turn:
            place.on_leave(lambda: turn.reschedule(loop.time()))
            async with aclosing(generate_best(engine, job)) as batches:
                async for events in batches:
                    place.accept()
                    if new := told.take(events):
                        place.progress()
                        tell(new)
    except TimeoutError:
        if not turn.expired():
            raise


async def _run_held(engine: Engine, job: EngineJob, place: Place, tell: Tell, listener: TurnListener) -> None:
    """Run a job that is held where it stands while its place is wanted."""
    await _enter(place, listener)
    holding = _Holding(job, place, listener)
    try:
        holding.let_leave()
        async with aclosing(generate_best(engine, job)) as batches:
            async for events in batches:
                place.accept()
                place.progress()
                tell(events)
    finally:
        holding.close()


class _Holding:
    """Gives a running job's place up where it is wanted, and has the engine hold the job until there is another.

    Nobody waits here: what ends the job, ends this.
    """

    def __init__(self, job: EngineJob, place: Place, listener: TurnListener) -> None:
        self._suspension = job.suspension
        self._place = place
        self._listener = listener
        self._leaving: asyncio.Handle | None = None

    def let_leave(self) -> None:
        """From now on the job can make way."""
        self._place.on_leave(self._leave_soon)

    def _leave_soon(self) -> None:
        # The gate is in the midst of a decision, of which a place that comes back would be a part.
        self._leaving = asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._suspension.begin()
        self._place.pause()
        if self._place.enter_at_once():
            # Whoever wanted the place has gone.
            self._suspension.end()
            self.let_leave()
            return
        self._listener.wait()
        self._place.line_up(self._go_on)

    def _go_on(self) -> None:
        self._suspension.end()
        self._listener.begin()
        self.let_leave()

    def close(self) -> None:
        """The job has ended."""
        if self._leaving is not None:
            self._leaving.cancel()

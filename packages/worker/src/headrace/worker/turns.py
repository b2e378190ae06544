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

    A job of the batch lane is paused where an online one needs its place: it is taken out of the engine, and goes on
    later where it stood. That needs an engine that can go on with what was told of it; where it can't, the job is
    paused only while nothing was told.

    Raises:
        HeadraceError: the job can't be run, or failed.
        EngineDeadError: the engine is dead.
    """
    if job.lane == "online":
        await _run_at_once(engine, gate, job, tell=tell, listener=listener)
    else:
        await _Turns(engine, gate, job, tell=tell, listener=listener).run()


async def _run_at_once(engine: Engine, gate: EngineGate, job: EngineJob, *, tell: Tell, listener: TurnListener) -> None:
    place = gate.arrive(lane=job.lane, priority=job.priority, may_pause=lambda: False)
    try:
        await _enter(place, listener)
        async with aclosing(generate_best(engine, job)) as batches:
            async for events in batches:
                place.accept()
                tell(events)
    finally:
        place.close()


async def _enter(place: Place, listener: TurnListener) -> None:
    if not place.enter_at_once():
        listener.wait()
        await place.enter()
    listener.begin()


class _Turns:
    """A job that may be paused."""

    def __init__(self, engine: Engine, gate: EngineGate, job: EngineJob, *, tell: Tell, listener: TurnListener) -> None:
        self._engine = engine
        self._job = job
        self._tell = tell
        self._listener = listener
        self._told = Retelling(job.told)
        can_continue = engine.can_continue(job.request)
        self._place = gate.arrive(
            lane=job.lane, priority=job.priority, may_pause=lambda: can_continue or not self._told.has_told
        )

    async def run(self) -> None:
        try:
            while not self._told.is_over:
                await _enter(self._place, self._listener)
                await self._take_turn()
                if not self._told.is_over:
                    self._place.pause()
        finally:
            self._place.close()

    async def _take_turn(self) -> None:
        """Run until the end, or until the place is wanted."""
        job = structs.replace(self._job, told=self._told.begin_turn())
        loop = asyncio.get_running_loop()
        turn = asyncio.timeout(None)
        try:
            async with turn:
                self._place.on_leave(lambda: turn.reschedule(loop.time()))
                async with aclosing(generate_best(self._engine, job)) as batches:
                    async for events in batches:
                        self._place.accept()
                        if new := self._told.take(events):
                            self._place.progress()
                            self._tell(new)
        except TimeoutError:
            if not turn.expired():
                raise

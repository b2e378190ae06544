"""What serves one model on a worker: its engine, the gate before it, and the intake that fills both."""

from collections.abc import Callable, Sequence

import structlog

from headrace.schema.names import Lane, task_queue_name
from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import Engine, EngineJob
from headrace.worker.gate import EngineGate
from headrace.worker.intake import Intake
from headrace.worker.observer import IntakeSwitched, WorkerObserver
from headrace.worker.turns import Tell, TurnListener, run_in_turns

NO_BATCH = -1
# What a station has where the settings say nothing else.
DEFAULT_RESERVE = 0.1
DEFAULT_PATIENCE_SECONDS = 120.0

_log = structlog.get_logger("headrace.worker")


class Station:
    """One model on one worker.

    Args:
        engine: made, not started.
        model: its served name.
        batch_slots: generations of the batch lane that it holds at once; 0 is as many as the engine's slots, -1 none.
        kv_reserve: share of the engine's KV cache that stays free for running answers to grow.
        patience_seconds: a generation of the batch lane that has lost so much to pauses is paused no more.
        observers: who gets the facts.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: str,
        batch_slots: int = 0,
        kv_reserve: float = DEFAULT_RESERVE,
        patience_seconds: float = DEFAULT_PATIENCE_SECONDS,
        observers: Sequence[WorkerObserver] = (),
    ) -> None:
        self.engine = engine
        self.model = model
        self.queues: dict[str, int] = {task_queue_name(model): engine.slots}
        if batch_slots != NO_BATCH:
            self.queues[task_queue_name(model, "batch")] = batch_slots or engine.slots
        self._observers = observers
        self._gate = EngineGate(engine.slots, patience_seconds=patience_seconds)
        self._set_intake: Callable[[str, bool], None] | None = None
        self._intake = Intake(engine, self._gate, reserve=kv_reserve, switch=self._switch)

    async def run(self, job: EngineJob, *, tell: Tell, listener: TurnListener) -> None:
        """Run a job to its end; see `run_in_turns`."""
        await run_in_turns(self.engine, self._gate, job, tell=tell, listener=listener)

    def learn(self, tokens: int) -> None:
        """Note how many tokens of context a generation needed in the end."""
        self._intake.learn(tokens)

    async def watch_intake(self, set_intake: Callable[[str, bool], None]) -> None:
        """Open and close the queues as there is room, without end.

        Args:
            set_intake: takes a queue's name, and whether it is to be consumed.
        """
        self._set_intake = set_intake
        await self._intake.watch()

    def _switch(self, lane: Lane, is_open: bool) -> None:  # noqa: FBT001 - a callback
        name = task_queue_name(self.model, lane)
        if self._set_intake is None or name not in self.queues:
            return
        self._set_intake(name, is_open)
        for observer in self._observers:
            observer.intake_switched(IntakeSwitched(model=self.model, lane=lane, is_open=is_open))


def make_station(
    engine: Engine,
    settings: ModelSettings,
    *,
    model: str,
    patience_seconds: float,
    observers: Sequence[WorkerObserver] = (),
) -> Station:
    """Return the station of a model as its settings want it."""
    return Station(
        engine,
        model=model,
        batch_slots=settings.batch_slots,
        kv_reserve=settings.kv_reserve,
        patience_seconds=patience_seconds,
        observers=observers,
    )

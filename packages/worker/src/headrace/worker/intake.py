"""How much a worker takes off the queues of one model: no more than its engine has room for.

Slots are only a part of that. What an engine can hold at once is tokens of context, and long prompts fill it long
before its slots. So the intake compares how full the engine is with what a further generation is likely to need, and
where that does not fit, the worker takes no more until it does.
"""

import asyncio
from collections.abc import Callable

from headrace.schema.names import LANES, Lane
from headrace.worker.engines.base import Engine, EngineLoad
from headrace.worker.gate import EngineGate

REVIEW_SECONDS = 0.1
# Batch work comes and goes with every online request, and a consumer that stops and starts as often only costs.
BATCH_REOPEN_SECONDS = 1.0
# How much of what is expected of the next generation comes from the last one.
_WEIGHT = 0.2


def has_room(load: EngineLoad, *, expected: float, pending: int, reserve: float, is_open: bool) -> bool:
    """Tell whether one more generation fits.

    Args:
        load: of the engine.
        expected: tokens that a generation is likely to need.
        pending: generations that were begun and that `load` does not count yet.
        reserve: share of the engine's tokens that stays free.
        is_open: whether more are taken at the moment: once they are not, twice the reserve must be free.
    """
    if not load.kv_tokens_total:
        return True
    kept = reserve if is_open else min(2 * reserve, (1 + reserve) / 2)
    used = load.kv_tokens_used + load.waiting_tokens + expected * (pending + 1)
    return used <= load.kv_tokens_total * (1 - kept)


class Expectation:
    """What a generation is likely to need, learnt from those that have ended.

    Args:
        tokens: what to expect before any has; None until something is known.
    """

    def __init__(self, tokens: float | None = None) -> None:
        self._tokens = tokens

    def learn(self, tokens: int) -> None:
        """Note what a generation needed in the end."""
        self._tokens = tokens if self._tokens is None else self._tokens + _WEIGHT * (tokens - self._tokens)

    def tokens(self, load: EngineLoad, *, slots: int, reserve: float) -> float:
        """Return it; before anything is known, what lets every slot be used."""
        if self._tokens is None:
            return load.kv_tokens_total * max(0.0, 1 - 2 * reserve) / slots
        return self._tokens


class Intake:
    """Opens and closes the queues of one model.

    Args:
        engine: whose load counts.
        gate: before the engine.
        reserve: share of the engine's tokens that stays free.
        switch: called when the queue of a lane is to be consumed, or no more for the time being.
    """

    def __init__(
        self, engine: Engine, gate: EngineGate, *, reserve: float, switch: Callable[[Lane, bool], None]
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._reserve = reserve
        self._switch = switch
        self._expectation = Expectation()
        self._has_room = True
        self._open: dict[Lane, bool] = dict.fromkeys(LANES, True)
        self._batch_opens_at = 0.0
        gate.on_change(self.review)

    def learn(self, tokens: int) -> None:
        """Note how many tokens of context a generation needed, prompt and answer together."""
        self._expectation.learn(tokens)

    def review(self) -> None:
        """Look whether there is room for more."""
        room = self._find_room()
        if room != self._has_room:
            self._has_room = room
            self._gate.set_open(value=room)
        # Batch work that fills the engine gives its room up, so it is no reason to take nothing online.
        self._set_lane("online", is_open=self._has_room or self._gate.can_make_way())
        if not self._has_room:
            self._set_lane("batch", is_open=False)

    def _find_room(self) -> bool:
        gate = self._gate
        if not gate.running_count:
            # However long it may be: there will never be more room for it.
            return True
        load = self._engine.load()
        return has_room(
            load,
            expected=self._expectation.tokens(load, slots=self._engine.slots, reserve=self._reserve),
            pending=gate.running_count - gate.accepted_count,
            reserve=self._reserve,
            is_open=self._has_room,
        )

    def _set_lane(self, lane: Lane, *, is_open: bool) -> None:
        if self._open[lane] != is_open:
            self._open[lane] = is_open
            self._switch(lane, is_open)

    async def watch(self) -> None:
        """Look again and again, for as long as anything runs or waits."""
        while True:
            self.review()
            self._review_batch(asyncio.get_running_loop().time())
            if not self._gate.occupied.is_set():
                await self._gate.occupied.wait()
            await asyncio.sleep(REVIEW_SECONDS)

    def _review_batch(self, now: float) -> None:
        """Take no batch tasks that would wait here: another worker may have a place for them."""
        if not self._has_room or self._gate.waits("batch"):
            self._batch_opens_at = now + BATCH_REOPEN_SECONDS
            self._set_lane("batch", is_open=False)
        elif now >= self._batch_opens_at or not self._gate.running_count:
            self._set_lane("batch", is_open=True)

"""The places of one engine, and who waits for them: the shell around `decision`. It lives on the event loop."""

import asyncio
import itertools
import time
from collections.abc import Callable

from headrace.schema.names import Lane
from headrace.worker.gate.decision import Contender, decide, has_spare

HOLD_OFF_SECONDS = 0.05
"""Where an online generation ends, the next is on its way: the batch lane does not take the place for a moment."""


class Place:
    """A generation's place at the gate, from its arrival to its end. `EngineGate.arrive` makes it.

    Args:
        gate: where.
        number: counts arrivals.
        lane: its lane.
        priority: 0 to 9, the higher the sooner.
        clock: seconds, monotonic.
    """

    def __init__(
        self, gate: "EngineGate", number: int, *, lane: Lane, priority: int, clock: Callable[[], float]
    ) -> None:
        self._gate = gate
        self.number = number
        self.lane: Lane = lane
        self.priority = priority
        self._clock = clock
        self._on_admission: Callable[[], None] | None = None
        self._holds_place = False
        self._is_leaving = False
        self._is_accepted = False
        self._leave_soon: Callable[[], None] | None = None
        self._lost_seconds = 0.0
        self._losing_since: float | None = None

    @property
    def holds_place(self) -> bool:
        """Whether the generation may run."""
        return self._holds_place

    @property
    def lost_seconds(self) -> float:
        """What it has lost to pauses: from each of them until it tells something new again."""
        losing = 0.0 if self._losing_since is None else self._clock() - self._losing_since
        return self._lost_seconds + losing

    def view(self) -> Contender:
        """Return it as a value."""
        return Contender(
            number=self.number,
            lane=self.lane,
            priority=self.priority,
            holds_place=self._holds_place,
            is_leaving=self._is_leaving,
            may_pause=self._leave_soon is not None,
            lost_seconds=self.lost_seconds,
        )

    def enter_at_once(self) -> bool:
        """Take a place in the engine if there is one for the asking; tell whether there was."""
        return self._gate.admit_at_once(self)

    async def enter(self) -> None:
        """Wait for a place in the engine."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def note() -> None:
            if not admitted.done():
                admitted.set_result(None)

        self.line_up(note)
        try:
            await admitted
        finally:
            self._on_admission = None
            self._gate.note_not_waiting(self)

    def line_up(self, on_admission: Callable[[], None]) -> None:
        """Wait for a place in the engine, and be called in it; `close` ends the wait."""
        self._on_admission = on_admission
        self._gate.note_waiting(self)

    def admit(self) -> None:
        """Have the place from now on; the gate says so."""
        self._holds_place = True
        on_admission, self._on_admission = self._on_admission, None
        if on_admission is not None:
            on_admission()

    def on_leave(self, leave_soon: Callable[[], None]) -> None:
        """Say how the generation is stopped where it has to make way; until then it has begun and can't be."""
        self._leave_soon = leave_soon
        self._gate.settle()

    def ask_to_leave(self) -> None:
        """Have the generation make way for another."""
        if self._leave_soon is not None and not self._is_leaving:
            self._is_leaving = True
            self._leave_soon()

    def pause(self) -> None:
        """Give the place up, to wait for another one."""
        if self._losing_since is None:
            self._losing_since = self._clock()
        self._give_up(swapped=True)

    def accept(self) -> None:
        """Note that the engine has taken the prompt: from now on it counts it itself."""
        if self._holds_place and not self._is_accepted:
            self._is_accepted = True
            self._gate.accepted_count += 1

    def progress(self) -> None:
        """Note that the generation tells something new again after a pause, or still does in the midst of one."""
        if self._losing_since is not None:
            self._lost_seconds = self.lost_seconds
            self._losing_since = None if self._holds_place else self._clock()

    def close(self) -> None:
        """Leave for good."""
        self._on_admission = None
        self._gate.note_not_waiting(self)
        self._gate.forget(self)
        self._give_up(swapped=False)

    def _give_up(self, *, swapped: bool) -> None:
        held, self._holds_place = self._holds_place, False
        self._gate.accepted_count -= self._is_accepted
        self._is_leaving, self._is_accepted, self._leave_soon = False, False, None
        self._gate.note_left(self, held=held, swapped=swapped)


class EngineGate:
    """Hands out the places of one engine.

    Args:
        slots: how many there are.
        patience_seconds: a generation that has lost so much to pauses is paused no more.
        hold_off_seconds: how long the batch lane does not take a place that an online generation has left.
        clock: seconds, monotonic.

    Attributes:
        occupied: whether anybody is at the gate.
        accepted_count: generations that the engine counts itself.
    """

    def __init__(
        self,
        slots: int,
        *,
        patience_seconds: float,
        hold_off_seconds: float = HOLD_OFF_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = slots
        self._patience_seconds = patience_seconds
        self._hold_off_seconds = hold_off_seconds
        self._clock = clock
        self._places: dict[int, Place] = {}
        self._waiting: dict[int, Place] = {}
        self._pausable: dict[int, Place] = {}
        self._numbers = itertools.count()
        self._holding = 0
        self._open_places = slots
        self._is_open = True
        self._held_off_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_settling = False
        self._on_change: Callable[[], None] = lambda: None
        self.occupied = asyncio.Event()
        self.accepted_count = 0

    @property
    def running_count(self) -> int:
        """Generations that have a place."""
        return self._holding

    def waits(self, lane: Lane) -> bool:
        """Tell whether a generation of a lane waits."""
        return any(place.lane == lane for place in self._waiting.values())

    def can_make_way(self) -> bool:
        """Tell whether one more online generation would get a place from one of the batch lane."""
        return bool(self._pausable) and has_spare(
            self._view(), slots=self._slots, patience_seconds=self._patience_seconds
        )

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever somebody begins, waits or leaves."""
        self._on_change = tell

    def arrive(self, *, lane: Lane, priority: int) -> Place:
        """Let a generation come to the gate; it must be closed in the end."""
        place = Place(self, next(self._numbers), lane=lane, priority=priority, clock=self._clock)
        self._places[place.number] = place
        self.occupied.set()
        return place

    def set_open(self, *, value: bool) -> None:
        """Let more generations begin, or no more than run now: at least one, and one for each that is paused."""
        self._is_open = value
        if value:
            self._open_places = self._slots
            self.settle()
        else:
            self._open_places = max(1, min(self._open_places, self._holding))

    def admit_at_once(self, place: Place) -> bool:
        """Admit a generation where nobody has to be asked first; tell whether it was."""
        if self._waiting or self._holding >= self._open_places:
            return False
        if place.lane == "batch" and self._clock() < self._held_off_until:
            return False
        self._admit(place)
        return True

    def note_waiting(self, place: Place) -> None:
        """Let a generation wait."""
        self._waiting[place.number] = place
        self.settle()
        self._on_change()

    def note_not_waiting(self, place: Place) -> None:
        """Let a generation wait no more: it was admitted, or is gone."""
        self._waiting.pop(place.number, None)

    def _admit(self, place: Place) -> None:
        self._waiting.pop(place.number, None)
        self._holding += 1
        if place.lane == "batch":
            self._pausable[place.number] = place
        place.admit()
        self._on_change()

    def settle(self) -> None:
        """Decide until there is nothing left to decide."""
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while self._waiting and self._take_step():
                pass
        finally:
            self._is_settling = False

    def _view(self) -> list[Contender]:
        return [place.view() for place in itertools.chain(self._waiting.values(), self._pausable.values())]

    def _take_step(self) -> bool:
        now = self._clock()
        decision = decide(
            self._view(),
            running=self._holding,
            places=self._open_places,
            slots=self._slots,
            patience_seconds=self._patience_seconds,
            holds_off=now < self._held_off_until,
        )
        for number in decision.pause:
            self._places[number].ask_to_leave()
        if decision.is_held_off:
            self._settle_later(self._held_off_until - now)
        if decision.start is None:
            return False
        self._admit(self._places[decision.start])
        return True

    def _settle_later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._settle_now)

    def _settle_now(self) -> None:
        self._timer = None
        self.settle()

    def forget(self, place: Place) -> None:
        """Let a generation go."""
        self._places.pop(place.number, None)
        if not self._places:
            self.occupied.clear()

    def note_left(self, place: Place, *, held: bool, swapped: bool) -> None:
        """Take a place back; one that was given up for another generation stays open for it."""
        if held:
            self._holding -= 1
            self._pausable.pop(place.number, None)
            if not self._is_open and not swapped:
                self._open_places = max(1, self._open_places - 1)
            if place.lane == "online":
                self._held_off_until = self._clock() + self._hold_off_seconds
        self.settle()
        self._on_change()

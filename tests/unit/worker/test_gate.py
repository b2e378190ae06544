"""The gate as it is used: whatever comes and goes, no more than the slots run, and everything ends."""

import asyncio
import random

import pytest

from headrace.schema.names import Lane
from headrace.worker.gate import EngineGate, Place


def make_gate(slots: int, *, patience: float = 1000.0, hold_off: float = 0.0) -> EngineGate:
    return EngineGate(slots, patience_seconds=patience, hold_off_seconds=hold_off)


def arrive(gate: EngineGate, lane: Lane, *, priority: int = 5) -> Place:
    return gate.arrive(lane=lane, priority=priority)


class Worker:
    """Counts who runs."""

    def __init__(self, gate: EngineGate, slots: int) -> None:
        self.gate = gate
        self.slots = slots
        self.running: set[int] = set()
        self.done: list[int] = []

    async def run(self, number: int, lane: Lane, *, turns: int, priority: int) -> None:
        place = arrive(self.gate, lane, priority=priority)
        left = turns
        try:
            while left:
                if not place.enter_at_once():
                    await place.enter()
                self.running.add(number)
                assert len(self.running) <= self.slots
                left = await self.take_turn(place, left)
                self.running.discard(number)
                if left:
                    place.pause()
        finally:
            self.running.discard(number)
            place.close()
        self.done.append(number)

    async def take_turn(self, place: Place, left: int) -> int:
        wanted = asyncio.Event()
        place.on_leave(wanted.set)
        place.accept()
        while left and not wanted.is_set():
            await asyncio.sleep(0)
            left -= 1
            place.progress()
        return left


@pytest.mark.parametrize("seed", range(20))
async def test_everything_ends_and_no_more_than_the_slots_run(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    slots = chance.randint(1, 4)
    worker = Worker(make_gate(slots, patience=chance.choice([0.0, 1000.0])), slots)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []
        for number in range(40):
            lane: Lane = chance.choice(("online", "batch"))
            work = worker.run(number, lane, turns=chance.randint(1, 9), priority=chance.randint(0, 9))
            tasks.append(group.create_task(work))
            for _ in range(chance.randint(0, 4)):
                await asyncio.sleep(0)
            if chance.random() < 0.1:
                worker.gate.set_open(value=False)
            if chance.random() < 0.2:
                tasks[chance.randrange(len(tasks))].cancel()
        worker.gate.set_open(value=True)
    assert worker.gate.running_count == worker.gate.accepted_count == 0
    assert not worker.gate.occupied.is_set()
    assert len(worker.done) + sum(task.cancelled() for task in tasks) == 40


async def test_who_stands_in_line_is_called_and_is_not_once_it_has_gone() -> None:
    gate = make_gate(1)
    online, patient, gone = arrive(gate, "online"), arrive(gate, "batch"), arrive(gate, "batch")
    assert online.enter_at_once()
    called: list[str] = []
    gone.line_up(lambda: called.append("gone"))
    patient.line_up(lambda: called.append("patient"))
    gone.close()
    assert not called
    online.close()
    assert called == ["patient"]
    patient.close()
    assert gate.running_count == 0


async def test_what_is_told_in_the_midst_of_a_pause_begins_the_loss_anew() -> None:
    now = 100.0
    gate = EngineGate(1, patience_seconds=1000.0, hold_off_seconds=0.0, clock=lambda: now)
    batch, online = arrive(gate, "batch"), arrive(gate, "online")
    assert batch.enter_at_once()
    batch.pause()
    assert online.enter_at_once()
    batch.line_up(lambda: None)
    now = 110.0
    batch.progress()
    now = 130.0
    assert batch.lost_seconds == 30.0
    online.close()
    batch.progress()
    now = 200.0
    assert batch.lost_seconds == 30.0
    batch.close()


async def test_it_tells_whether_a_further_online_one_would_get_a_place() -> None:
    gate = make_gate(2)
    first, second = arrive(gate, "batch"), arrive(gate, "batch")
    for place in (first, second):
        assert place.enter_at_once()
        assert gate.can_make_way() is (place is second)
        place.on_leave(lambda: None)
    assert gate.can_make_way()
    waiting = [arrive(gate, "online") for _ in range(2)]
    waiting[0].line_up(lambda: None)
    assert gate.can_make_way()
    waiting[1].line_up(lambda: None)
    assert not gate.can_make_way()
    for place in (first, second, *waiting):
        place.close()


async def test_one_that_has_begun_makes_way_as_soon_as_it_can() -> None:
    gate = make_gate(1)
    batch, asked = arrive(gate, "batch"), asyncio.Event()
    assert batch.enter_at_once()
    online = arrive(gate, "online")
    async with asyncio.TaskGroup() as group:
        group.create_task(online.enter())
        await asyncio.sleep(0)
        batch.on_leave(asked.set)
        assert asked.is_set()
        batch.pause()


async def test_a_closed_gate_lets_one_in_for_each_that_is_paused() -> None:
    gate = make_gate(4)
    batch = arrive(gate, "batch")
    assert batch.enter_at_once()
    batch.on_leave(batch.pause)
    gate.set_open(value=False)
    first, second = arrive(gate, "online"), arrive(gate, "online")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(first.enter())
        entering = group.create_task(second.enter())
        for _ in range(3):
            await asyncio.sleep(0)
        assert first.holds_place
        assert not entering.done()
        gate.set_open(value=True)


async def test_batch_work_leaves_the_place_of_an_online_one_alone_for_a_moment() -> None:
    gate = make_gate(1, hold_off=0.05)
    online = arrive(gate, "online")
    assert online.enter_at_once()
    online.close()
    batch, next_one = arrive(gate, "batch"), arrive(gate, "online")
    assert not batch.enter_at_once()
    assert next_one.enter_at_once()
    next_one.close()
    async with asyncio.timeout(5):
        await batch.enter()


async def test_a_gate_that_was_closed_while_full_lets_nobody_in_for_those_who_leave() -> None:
    gate = make_gate(2)
    first, second, third = (arrive(gate, "online") for _ in range(3))
    assert first.enter_at_once()
    assert second.enter_at_once()
    waiting = asyncio.get_running_loop().create_task(third.enter())
    await asyncio.sleep(0)
    gate.set_open(value=False)
    first.close()
    assert gate.running_count == 1
    assert not waiting.done()
    gate.set_open(value=True)
    await waiting
    assert gate.running_count == 2
    second.close()
    third.close()

"""Who gives a slot of the engine up, and for whom."""

from msgspec import Struct

from headrace.worker.engines.vllm.making_way import BatchRest, choose_victim, is_online
from headrace.worker.engines.vllm.sampling import engine_priority

BLOCK = 32


class Standing(Struct):
    priority: int
    arrival_time: float = 0.0
    num_tokens: int = BLOCK - 1


def online(priority: int = 5, **fields: int) -> Standing:
    return Standing(engine_priority(priority), **fields)


def batch(priority: int = 5, arrival_time: float = 0.0) -> Standing:
    return Standing(engine_priority(priority, "batch"), arrival_time)


def choose(line: list[Standing], running: list[Standing], *, slots: int = 0, blocks: int = 100) -> Standing | None:
    return choose_victim(line, running, free_slots=slots, free_blocks=blocks, block_tokens=BLOCK)


def test_lanes_are_told_apart_by_priority() -> None:
    assert all(is_online(online(priority)) for priority in range(10))
    assert not any(is_online(batch(priority)) for priority in range(10))


def test_the_lowest_priority_makes_way_first_then_the_youngest() -> None:
    running = [batch(1, 1.0), batch(1, 2.0), batch(7, 3.0), online(0)]
    assert choose([online()], running) is running[1]


def test_nobody_makes_way_for_nobody_or_for_one_that_finds_a_slot() -> None:
    assert choose([], [batch()]) is None
    assert choose([online()], [batch()], slots=1) is None
    assert choose([online(), online()], [batch()], slots=1) is not None


def test_online_work_does_not_make_way() -> None:
    assert choose([online(9)], [online(0), online(0)]) is None


def test_room_in_the_cache_is_made_where_there_is_a_slot() -> None:
    running = [batch()]
    long = online(num_tokens=10 * BLOCK)
    assert choose([long], running, slots=3, blocks=10) is running[0]
    assert choose([long], running, slots=3, blocks=11) is None


def test_who_can_get_no_slot_needs_no_room_in_the_cache() -> None:
    long = online(num_tokens=10 * BLOCK)
    assert choose([online(), online(), long], [batch()], slots=2, blocks=2) is not None
    assert choose([online(), long], [online()], slots=1, blocks=1) is None


def test_only_online_requests_begin_in_a_step_in_which_one_does() -> None:
    assert BatchRest().slots(4, taken=0, beginning=1) == 1
    assert BatchRest().slots(4, taken=2, beginning=1) == 3
    assert BatchRest().slots(4, taken=3, beginning=5) == 4


def test_every_slot_is_open_while_nothing_of_the_online_lane_begins() -> None:
    rest = BatchRest()
    assert [rest.slots(4, taken=1, beginning=0) for _ in range(3)] == [4, 4, 4]


def test_batch_work_has_every_second_step_however_many_online_requests_come() -> None:
    rest = BatchRest()
    assert [rest.slots(4, taken=1, beginning=1) for _ in range(5)] == [2, 4, 2, 4, 2]


def test_after_a_step_without_online_beginnings_batch_work_can_rest_again() -> None:
    rest = BatchRest()
    assert [rest.slots(4, taken=0, beginning=count) for count in (1, 0, 1, 1, 0, 1)] == [1, 4, 1, 4, 4, 1]

"""Who waits until the broker has read something, and for how many questions."""

import asyncio

import pytest

from headrace.transport.rabbitmq.read_back import Answered, ReadBack


class Connection:
    """Keeps the questions until the test answers them."""

    def __init__(self) -> None:
        self.asked: list[Answered] = []
        self.is_open = True

    def ask(self, answered: Answered) -> bool:
        if self.is_open:
            self.asked.append(answered)
        return self.is_open


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def connection() -> Connection:
    return Connection()


async def test_who_comes_while_a_question_is_on_its_way_shares_the_next_one(connection: Connection) -> None:
    read_back = ReadBack(connection.ask)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(read_back.wait())
        await _turns()
        others = [group.create_task(read_back.wait()) for _ in range(20)]
        await _turns()
        assert len(connection.asked) == 1
        connection.asked[0]()
        await _turns()
        assert first.done()
        assert not any(other.done() for other in others), "theirs was written after the question"
        assert len(connection.asked) == 2
        connection.asked[1]()
    assert all([first.result(), *(other.result() for other in others)])


async def test_a_lost_connection_answers_everybody_and_a_new_one_is_asked_again(connection: Connection) -> None:
    read_back = ReadBack(connection.ask)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = [group.create_task(read_back.wait()) for _ in range(2)]
        await _turns()
        connection.is_open = False
        read_back.lose()
    assert [task.result() for task in waiting] == [False, False]
    assert await read_back.wait() is False
    connection.is_open = True
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        again = group.create_task(read_back.wait())
        await _turns()
        # The answer to the question of the connection that is gone comes too late to mean anything.
        connection.asked[0]()
        await _turns()
        assert not again.done()
        connection.asked[-1]()
    assert again.result()


async def test_who_stops_waiting_takes_nothing_from_the_others(connection: Connection) -> None:
    read_back = ReadBack(connection.ask)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first, second = (group.create_task(read_back.wait()) for _ in range(2))
        await _turns()
        first.cancel()
        await _turns()
        for answered in list(connection.asked):
            answered()
        await _turns()
        for answered in list(connection.asked):
            answered()
    assert second.result()

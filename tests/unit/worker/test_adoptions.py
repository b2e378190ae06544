"""Adoptions are kept as long as they are worth something, and never without bound."""

from headrace.schema.control import AdoptGeneration
from headrace.worker.adoptions import MOST_ADOPTIONS, Adoptions
from tests.support.values import make_task


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_last_address_counts_and_is_news_once() -> None:
    adoptions = Adoptions(_Clock())
    task = make_task("m", reply_address="first")
    assert adoptions.address_of(task) == "first"
    assert adoptions.note(AdoptGeneration(task.request_id, "second", 1100.0))
    assert not adoptions.note(AdoptGeneration(task.request_id, "second", 1100.0))
    assert adoptions.address_of(task) == "second"
    assert adoptions.note(AdoptGeneration(task.request_id, "third", 1100.0))
    assert adoptions.address_of(task) == "third"


def test_what_is_past_its_deadline_is_forgotten_when_another_comes() -> None:
    clock = _Clock()
    adoptions = Adoptions(clock)
    adoptions.note(AdoptGeneration("old", "a", 1010.0))
    clock.now = 1011.0
    adoptions.note(AdoptGeneration("new", "a", 1100.0))
    assert len(adoptions) == 1


def test_no_more_than_the_most_are_kept() -> None:
    adoptions = Adoptions(_Clock())
    for number in range(MOST_ADOPTIONS + 10):
        adoptions.note(AdoptGeneration(str(number), "a", 1100.0))
    assert len(adoptions) == MOST_ADOPTIONS

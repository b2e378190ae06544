"""When there is room for one more generation."""

import pytest

from headrace.worker.engines.base import EngineLoad
from headrace.worker.intake import Expectation, has_room


@pytest.mark.parametrize(
    ("used", "waiting", "pending", "is_open", "fits"),
    [
        (0, 0, 0, True, True),
        (790, 0, 0, True, True),
        (810, 0, 0, True, False),
        (400, 400, 0, True, True),
        (400, 420, 0, True, False),
        (600, 0, 2, True, True),
        (600, 0, 3, True, False),
        (790, 0, 0, False, False),
        (690, 0, 0, False, True),
    ],
)
def test_a_further_generation_must_fit_beside_the_reserve(
    used: int, waiting: int, pending: int, is_open: bool, fits: bool
) -> None:
    load = EngineLoad(kv_tokens_total=1000, kv_tokens_used=used, waiting_tokens=waiting)
    assert has_room(load, expected=100, pending=pending, reserve=0.1, is_open=is_open) is fits


def test_an_engine_that_does_not_know_its_load_has_room() -> None:
    assert has_room(EngineLoad(), expected=100, pending=9, reserve=0.1, is_open=True)


def test_a_large_reserve_can_be_met_again() -> None:
    load = EngineLoad(kv_tokens_total=1000)
    assert has_room(load, expected=10, pending=0, reserve=0.9, is_open=False)


def test_what_is_expected_follows_what_was_needed() -> None:
    load, expectation = EngineLoad(kv_tokens_total=1000), Expectation()
    assert expectation.tokens(load, slots=8, reserve=0.1) == pytest.approx(100)
    expectation.learn(300)
    assert expectation.tokens(load, slots=8, reserve=0.1) == 300
    for _ in range(40):
        expectation.learn(50)
    assert expectation.tokens(load, slots=8, reserve=0.1) == pytest.approx(50, abs=1)

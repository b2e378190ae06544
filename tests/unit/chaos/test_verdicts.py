"""The chaos suite sees what it looks for: an answer or a bill that is wrong in one way is called so."""

import random
from typing import Any

import pytest

from tests.chaos.answer import Answer, Frame, GivenUp, Verdict, judge
from tests.chaos.faults import FAULTS, deal
from tests.chaos.ledger import FINISHED, Row, compare
from tests.chaos.orders import Order, make_orders

ORDER = Order(number=0, tokens=2, sequences=1, seed=0)


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - no secret


WORDS = {0: "one two "}
FIRST = {"type": "sequence_delta", "index": 0, "text": "one ", "token_ids": [1]}
SECOND = {"type": "sequence_delta", "index": 0, "text": "two ", "token_ids": [2]}
BEGIN = [{"type": "generation_started"}, {"type": "sequence_started", "index": 0}]
FINISH = {"type": "sequence_finished", "index": 0}


def end(tokens: int = 2) -> dict[str, Any]:
    return {"type": "generation_finished", "usage": {"output_tokens": tokens}}


def failed(code: str) -> dict[str, Any]:
    return {"type": "generation_failed", "error": {"code": code, "retryable": True}}


def answer_of(*events: dict[str, Any], request_id: str = "gen_1") -> Answer:
    answer = Answer(request_id=request_id)
    answer.take(Frame(f"{request_id}:{len(events)}", [*BEGIN, *events]))
    return answer


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([FIRST, SECOND, FINISH, end()], "whole"),
        ([SECOND, FIRST, FINISH, end()], "reordered"),
        ([FIRST, FIRST, SECOND, FINISH, end()], "doubled"),
        ([FIRST, SECOND, FINISH, FINISH, end()], "doubled"),
        ([FIRST, FINISH, end()], "lost"),
        ([FIRST, SECOND, FINISH, failed("worker_lost")], "lost"),
        ([FIRST, SECOND, FINISH], "lost"),
        ([FIRST, SECOND, FINISH, end(3)], "miscounted"),
        ([FIRST, {**SECOND, "token_ids": [2, 2]}, FINISH, end()], "miscounted"),
    ],
)
def test_an_answer_is_judged_by_what_its_client_saw(events: list[dict[str, Any]], verdict: Verdict) -> None:
    assert judge(ORDER, answer_of(*events), WORDS) == verdict


def test_an_answer_without_an_end_in_time_hangs() -> None:
    answer = answer_of(FIRST)
    answer.is_hung = True
    assert judge(ORDER, answer, WORDS) == "hung"


def test_an_answer_that_was_given_up_counts_from_its_start_again() -> None:
    answer = answer_of(FIRST)
    answer.give_up()
    assert answer.given_up == [GivenUp("gen_1", had_text=True)]
    answer.take(Frame("gen_2:6", [*BEGIN, FIRST, SECOND, FINISH, end()]))
    assert judge(ORDER, answer, WORDS) == "whole"


WHOLE = answer_of(FIRST, SECOND, FINISH, end())


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ({"gen_1": Row(FINISHED, 2)}, 0),
        ({}, 1),
        ({"gen_1": Row(FINISHED, 3)}, 1),
        ({"gen_1": Row("lost", 2)}, 1),
        ({"gen_1": Row(FINISHED, 2), "gen_2": Row(FINISHED, 2)}, 1),
    ],
)
def test_each_answer_that_was_told_is_billed_once_with_its_tokens(rows: dict[str, Row], wrong: int) -> None:
    assert len(compare([(ORDER, WHOLE)], rows)) == wrong


@pytest.mark.parametrize(
    ("call", "rows", "wrong"),
    [
        (GivenUp("gen_0", had_text=True), {"gen_0": Row("lost", 1)}, 0),
        (GivenUp("gen_0", had_text=True), {"gen_0": Row(FINISHED, 2)}, 0),
        (GivenUp("gen_0", had_text=True), {"gen_0": Row("lost", 3)}, 1),
        (GivenUp("gen_0", had_text=True), {}, 1),
        (GivenUp("gen_0", had_text=False), {}, 0),
        (GivenUp("", had_text=False), {}, 0),
        (GivenUp("", had_text=False), {"gen_7": Row("lost", 0)}, 0),
        (GivenUp("", had_text=False), {"gen_7": Row("lost", 0), "gen_8": Row("lost", 0)}, 1),
    ],
)
def test_a_call_that_ended_with_its_gateway_is_billed_at_most_once(
    call: GivenUp, rows: dict[str, Row], wrong: int
) -> None:
    answer = answer_of(FIRST, SECOND, FINISH, end())
    answer.given_up.append(call)
    assert len(compare([(ORDER, answer)], {"gen_1": Row(FINISHED, 2), **rows})) == wrong


def test_no_fault_strikes_twice_before_each_has_struck_once_and_a_seed_says_in_which_order() -> None:
    names = tuple(FAULTS)
    dealt = [deal(names, dice(3)) for _ in range(2)]
    rounds = [[next(faults) for _ in range(2 * len(names))] for faults in dealt]
    assert rounds[0] == rounds[1]
    assert sorted(rounds[0][: len(names)]) == sorted(rounds[0][len(names) :]) == sorted(names)
    assert make_orders(20, dice(3)) == make_orders(20, dice(3))
    assert {order.is_retained for order in make_orders(20, dice(3))} == {True, False}

"""The search against every answer there is, on models of a few tokens."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.worker.engines.vllm.beam.search import (
    Beam,
    BeamRules,
    Ending,
    Expansion,
    SearchState,
    advance,
    count_certain,
    extend_common_prefix,
    list_returnable,
)
from tests.unit.engines.beam_toys import ToyModel, search

SIZE, LENGTH = 3, 4
EVERYTHING = SIZE**LENGTH

seeds = st.integers(0, 10_000)
penalties = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])
stoppings = st.sampled_from([True, False, "never"])
widths = st.integers(1, 6)


def rules_of(
    width: int,
    *,
    count: int = 1,
    penalty: float = 1.0,
    stopping: bool | Literal["never"] = "never",
    prefers_whole: bool = False,
) -> BeamRules:
    return BeamRules(
        width=width,
        count=min(count, width),
        max_tokens=LENGTH,
        length_penalty=penalty,
        early_stopping=stopping,
        prefers_whole=prefers_whole,
    )


@given(seeds, penalties, st.integers(1, 8), st.booleans())
def test_a_search_as_wide_as_everything_finds_the_best_of_everything(
    seed: int, penalty: float, count: int, prefers_whole: bool
) -> None:
    model = ToyModel(seed, SIZE)
    rules = rules_of(EVERYTHING, count=count, penalty=penalty, prefers_whole=prefers_whole)
    found = search(model, rules)[-1].finished[:count]
    best = model.rank_all(rules)[:count]
    assert [hypothesis.beam.token_ids for hypothesis in found] == [tokens for _, tokens in best]
    assert [hypothesis.score for hypothesis in found] == pytest.approx([score for score, _ in best])


@given(seeds, penalties, widths, stoppings)
def test_scores_are_those_of_the_tokens_and_the_best_comes_first(
    seed: int, penalty: float, width: int, stopping: bool | Literal["never"]
) -> None:
    model = ToyModel(seed, SIZE)
    rules = rules_of(width, penalty=penalty, stopping=stopping)
    finished = search(model, rules)[-1].finished
    assert 0 < len(finished) <= width
    assert len({hypothesis.beam.token_ids for hypothesis in finished}) == len(finished)
    for hypothesis in finished:
        tokens = hypothesis.beam.token_ids
        assert hypothesis.score == pytest.approx(rules.score(model.logprob(tokens), len(tokens)))
        assert hypothesis.ending.reason == ("stop" if tokens[-1] == 0 else "length")
    assert [hypothesis.score for hypothesis in finished] == sorted((h.score for h in finished), reverse=True)


@given(seeds, penalties, widths, st.integers(1, 6), stoppings)
def test_what_is_said_to_be_certain_stays_true(
    seed: int, penalty: float, width: int, count: int, stopping: bool | Literal["never"]
) -> None:
    model = ToyModel(seed, SIZE)
    rules = rules_of(width, count=count, penalty=penalty, stopping=stopping)
    states = search(model, rules)[1:]
    answers = [hypothesis.beam.token_ids for hypothesis in states[-1].finished[: rules.count]]
    known = certain = 0
    for state in states:
        beams = list_returnable(state, rules)
        known = extend_common_prefix(beams, known) if not state.is_over else known
        assert count_certain(state, rules) >= certain
        certain = count_certain(state, rules)
        assert all(answer[:known] == beams[0].token_ids[:known] for answer in answers)
        assert all(len(answer) >= known for answer in answers)
    assert certain == len(answers)


@given(seeds, penalties, st.integers(1, 6))
def test_an_end_that_comes_early_changes_no_answer(seed: int, penalty: float, count: int) -> None:
    model = ToyModel(seed, SIZE)
    narrow, wide = (rules_of(6, count=n, penalty=penalty) for n in (count, 6))
    first, second = (search(model, rules) for rules in (narrow, wide))
    assert len(first) <= len(second)
    assert first[-1].finished[:count] == second[-1].finished[:count]


@given(seeds)
def test_a_width_of_one_takes_the_likeliest_token_each_time(seed: int) -> None:
    model = ToyModel(seed, SIZE)
    tokens: tuple[int, ...] = ()
    while len(tokens) < LENGTH and (not tokens or tokens[-1] != 0):
        tokens = (*tokens, model.expand(tokens).token_ids[0])
    assert search(model, rules_of(1, stopping=True))[-1].finished[0].beam.token_ids == tokens


def step(state: SearchState, rules: BeamRules, *expansions: dict[int, float]) -> SearchState:
    def ending(beam: Beam) -> Ending | None:
        return Ending("stop") if beam.token_ids[-1] == 0 else None

    expanded = [Expansion(tuple(each), tuple(each.values())) for each in expansions]
    return advance(state, expanded, rules, end_of=ending)


def test_an_answer_that_ends_below_the_first_ranks_is_dropped() -> None:
    rules = BeamRules(width=2, count=2, max_tokens=9)
    state = step(SearchState(), rules, {1: -0.1, 2: -0.2, 0: -0.3, 3: -0.4})
    assert [beam.token_ids for beam in state.live] == [(1,), (2,)]
    assert state.finished == ()


def test_an_answer_that_ends_among_the_first_leaves_room_for_the_next() -> None:
    rules = BeamRules(width=2, count=2, max_tokens=9)
    state = step(SearchState(), rules, {0: -0.1, 1: -0.2, 2: -0.3})
    assert [beam.token_ids for beam in state.live] == [(1,), (2,)]
    assert [hypothesis.beam.token_ids for hypothesis in state.finished] == [(0,)]


@pytest.mark.parametrize(
    ("stopping", "penalty", "is_over"),
    [
        (True, 1.0, True),
        # -1.2 over 2 tokens is no better than the worst of the finished; over 9 it would be.
        (False, 1.0, True),
        ("never", 1.0, False),
        ("never", 0.0, True),
    ],
)
def test_when_enough_is_finished(stopping: bool | Literal["never"], penalty: float, is_over: bool) -> None:
    rules = BeamRules(width=2, count=2, max_tokens=9, length_penalty=penalty, early_stopping=stopping)
    state = step(SearchState(), rules, {0: -0.5, 1: -0.6, 2: -0.7})
    assert not state.is_over
    state = step(state, rules, {0: -0.5, 1: -0.6}, {3: -0.9})
    assert {hypothesis.beam.token_ids for hypothesis in state.finished} == {(0,), (1, 0)}
    assert state.is_over is is_over


def test_a_live_beam_that_can_no_longer_win_is_not_waited_for() -> None:
    rules = BeamRules(width=3, count=1, max_tokens=5, length_penalty=0.0, early_stopping="never")
    state = step(SearchState(), rules, {1: -0.1, 2: -0.2, 3: -5.0})
    state = step(state, rules, {1: -0.1, 2: -3.0}, {0: -0.1, 4: -3.0}, {5: -0.1})
    assert state.finished[0].beam.token_ids == (2, 0)
    assert [beam.token_ids for beam in list_returnable(state, rules)] == [(2, 0), (1, 1)]

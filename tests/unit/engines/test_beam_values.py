"""Masks, endings and plans of a beam search."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.request import MAX_BEAM_WIDTH, BeamSearchParams, GenerationParameters
from headrace.worker.engines.vllm.beam.endings import EndRules, drop_early_endings, find_ending, find_stop_text
from headrace.worker.engines.vllm.beam.masks import is_allowed, mask_of, stack_masks, without
from headrace.worker.engines.vllm.beam.plan import MAX_CANDIDATES, BeamPlan, plan_beams
from headrace.worker.engines.vllm.beam.search import Beam, Ending, Expansion

END, STOP = 0, 7


@given(st.sets(st.integers(0, 99)), st.sets(st.integers(0, 99)))
def test_a_mask_allows_its_tokens_and_no_other(allowed: set[int], taken: set[int]) -> None:
    mask = mask_of(allowed, vocabulary_size=100)
    assert mask.size == 4
    assert mask.dtype == np.int32
    assert {token for token in range(128) if is_allowed(mask, token)} == allowed
    rest = without(mask, taken)
    assert {token for token in range(128) if is_allowed(rest, token)} == (allowed - taken or allowed)


def test_tokens_beyond_the_vocabulary_are_left_out() -> None:
    assert not mask_of([40, 99], vocabulary_size=32).any()


def test_rows_come_below_those_that_are_there() -> None:
    rows = [mask_of([token], vocabulary_size=64) for token in (1, 33)]
    assert stack_masks(None, rows).tolist() == [[2, 0], [0, 2]]
    assert stack_masks(np.array([[9, 9]], np.int32), rows).tolist() == [[9, 9], [2, 0], [0, 2]]


def decode_bytes(token_ids: Any) -> str:
    return bytes(token_ids).decode(errors="replace")


@pytest.mark.parametrize("stop", ["b", "ab", "é", "né", "日本"])
def test_a_stop_text_is_found_with_the_token_that_completes_it(stop: str) -> None:
    text = f"xaab né 日本 {stop}!"
    tokens = text.encode()
    ends = [
        length for length in range(1, len(tokens) + 1) if find_stop_text(tokens[:length], ("…", stop), decode_bytes)
    ]
    starts = [start for start in range(len(text)) if text.startswith(stop, start)]
    assert ends == [len(text[: start + len(stop)].encode()) for start in starts]


def test_of_two_stop_texts_the_one_that_is_complete_first_counts() -> None:
    tokens = [300, 301]
    texts = {300: "Hi", 301: " there. Bye"}
    found = find_stop_text(tokens, ("Bye", "there", "here"), lambda ids: "".join(texts[token] for token in ids))
    assert found == "there"


RULES = EndRules(
    max_tokens=4, min_tokens=2, end_token_ids=frozenset({END}), stop_token_ids=frozenset({STOP}), stop_texts=("a",)
)


@pytest.mark.parametrize(
    ("token_ids", "ending"),
    [
        ((98, 98, END), Ending("stop")),
        ((98, 98, STOP), Ending("stop", STOP)),
        ((98, 98, 97), Ending("stop", "a")),
        ((98, 97), None),
        ((98, 98, 98), None),
        ((98, 98, 98, 98), Ending("length")),
        ((98, 98, 98, END), Ending("stop")),
    ],
)
def test_how_a_beam_ends(token_ids: tuple[int, ...], ending: Ending | None) -> None:
    assert find_ending(Beam(token_ids), RULES, decode_bytes) == ending


def test_what_would_end_a_beam_too_early_is_no_candidate() -> None:
    expansion = Expansion((END, 5, STOP, 6), (-0.1, -0.2, -0.3, -0.4))
    assert drop_early_endings(expansion, Beam((9,)), RULES) == Expansion((5, 6), (-0.2, -0.4))
    assert drop_early_endings(expansion, Beam((9, 9)), RULES) is expansion


def plan(arguments: dict[str, Any] | None = None, *, top_logprobs: int | None = None, **parameters: Any) -> BeamPlan:
    parameters.setdefault("beam_search", BeamSearchParams(width=4))
    return plan_beams(
        GenerationParameters(**parameters),
        {"max_tokens": 9, **(arguments or {})},
        end_token_ids={END},
        vocabulary_size=500,
        top_logprobs=top_logprobs,
    )


def test_a_plan_says_what_the_request_says() -> None:
    beams = BeamSearchParams(width=5, length_penalty=2.0, early_stopping="never")
    found = plan({"stop": ["x"], "stop_token_ids": [7, 8], "min_tokens": 3}, n=2, beam_search=beams, top_logprobs=1)
    rules, ends = found.rules, found.ends
    assert (rules.width, rules.count, rules.max_tokens) == (5, 2, 9)
    assert (rules.length_penalty, rules.early_stopping, rules.keeps_places) == (2.0, "never", True)
    assert (ends.min_tokens, ends.stop_texts) == (3, ("x",))
    assert ends.stopping_token_ids == {END, 7, 8}
    assert found.text == {"stop": ["x"], "min_tokens": 3}


def test_end_tokens_that_are_ignored_end_nothing() -> None:
    assert plan({"ignore_eos": True}).ends.stopping_token_ids == frozenset()


@pytest.mark.parametrize(
    ("width", "stops", "top_logprobs", "candidates"),
    [(4, 0, None, 8), (1, 0, None, 2), (4, 9, None, 14), (4, 0, 20, 20), (32, 0, None, 64), (32, 400, None, 128)],
)
def test_enough_candidates_are_asked_for(width: int, stops: int, top_logprobs: int | None, candidates: int) -> None:
    beams = BeamSearchParams(width=width)
    arguments = {"stop_token_ids": range(1, stops + 1)}
    assert plan(arguments, beam_search=beams, top_logprobs=top_logprobs).candidates == candidates
    assert MAX_CANDIDATES >= 2 * MAX_BEAM_WIDTH


def test_what_only_concerns_sampling_is_ignored() -> None:
    sampling: dict[str, Any] = {"temperature": 1.5, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "seed": 4}
    assert plan(**sampling) == plan()
    assert plan(presence_penalty=0.0, frequency_penalty=0.0, repetition_penalty=1.0) == plan()


@pytest.mark.parametrize(
    ("parameters", "arguments", "param"),
    [
        ({"presence_penalty": 0.5}, {}, "presence_penalty"),
        ({"frequency_penalty": -0.5}, {}, "frequency_penalty"),
        ({"repetition_penalty": 1.1}, {}, "repetition_penalty"),
        ({}, {"logit_bias": {3: 1.0}}, "logit_bias"),
        ({}, {"bad_words": ["x"]}, "provider_extensions.vllm.bad_words"),
        ({}, {"ignore_eos": True, "structured_outputs": object()}, "ignore_eos"),
    ],
)
def test_what_a_search_can_not_honour_is_refused_by_name(
    parameters: dict[str, Any], arguments: dict[str, Any], param: str
) -> None:
    with pytest.raises(HeadraceError) as caught:
        plan(arguments, **parameters)
    assert caught.value.code is ErrorCode.UNSUPPORTED_PARAMETER
    assert caught.value.param == f"generation_parameters.{param}"

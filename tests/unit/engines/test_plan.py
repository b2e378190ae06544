from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.request import GenerationParameters
from headrace.worker.engines.scripted import Answer
from headrace.worker.engines.scripted.plan import plan_answer, plan_sequence
from headrace.worker.engines.scripted.tokens import split_tokens

letters = st.text(alphabet="ab 👋", max_size=40)
stops = st.lists(st.text(alphabet="ab 👋", min_size=1, max_size=4), max_size=3)


def cut_by_character(text: str, stop: list[str]) -> tuple[str, str | None]:
    """The rule in its plainest form: say it character by character, and look for an ending after each."""
    for end in range(1, len(text) + 1):
        endings = [wanted for wanted in stop if text[:end].endswith(wanted)]
        if endings:
            longest = max(endings, key=len)
            return text[: end - len(longest)], longest
    return text, None


def split_at(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


@given(letters)
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@given(letters, stops, st.lists(st.integers(min_value=0)))
def test_any_split_of_a_text_into_tokens_stops_at_the_same_character(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    tokens = split_at(text, cuts)
    plan = plan_sequence(tokens, limit=1000, stop=stop)
    expected, stop_sequence = cut_by_character(text, stop)
    assert plan.text_between(0, plan.length) == expected if plan.length else expected == ""
    assert plan.stop_sequence == stop_sequence
    assert plan.finish_reason == "stop"


@given(letters, stops, st.lists(st.integers(min_value=0)), st.lists(st.integers(min_value=0)))
def test_any_grouping_of_tokens_into_deltas_gives_the_same_answer(
    text: str, stop: list[str], cuts: list[int], stalls: list[int]
) -> None:
    plan = plan_sequence(split_at(text, cuts), limit=1000, stop=stop)
    places = sorted({0, plan.length, *(stall % (plan.length + 1) for stall in stalls)})
    deltas = [plan.text_between(a, b) for a, b in pairwise(places)]
    assert "".join(deltas) == cut_by_character(text, stop)[0]


def test_tokens_of_the_stop_text_count_as_output() -> None:
    plan = plan_sequence(["one ", "tw", "o th", "ree"], limit=10, stop=["two t"])
    assert list(plan.texts) == ["one ", "", ""]
    assert plan.length == 3


def test_the_limit_comes_before_a_stop_text_beyond_it() -> None:
    plan = plan_sequence(["a", "b", "c"], limit=2, stop=["c"])
    assert (plan.length, plan.finish_reason, plan.stop_sequence) == (2, "length", None)


def test_generated_tokens_end_by_themselves_or_at_the_limit() -> None:
    answer = Answer(tokens=5)
    (plan,) = plan_answer(answer, GenerationParameters(), limit=9, turn=0)
    assert (plan.length, plan.finish_reason) == (5, "stop")
    (plan,) = plan_answer(answer, GenerationParameters(), limit=4, turn=0)
    assert (plan.length, plan.finish_reason) == (4, "length")


def test_the_seed_chooses_the_text_and_each_sequence_the_next() -> None:
    answer = Answer(text=("a", "b", "c"))
    for turn in (0, 5):
        plans = plan_answer(answer, GenerationParameters(seed=4, n=2), limit=9, turn=turn)
        assert [plan.text_between(0, 1) for plan in plans] == ["b", "c"]
    (greedy,) = plan_answer(answer, GenerationParameters(temperature=0.0), limit=9, turn=5)
    assert greedy.text_between(0, 1) == "a"


def test_the_same_text_has_the_same_token_ids() -> None:
    plan = plan_sequence(split_tokens("no no yes"), limit=9, stop=())
    first, second, third = plan.token_ids_between(0, 3)
    assert first != second  # the white space before a word is part of it
    assert third == plan.token_ids_between(2, 3)[0]

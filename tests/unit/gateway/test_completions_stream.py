"""The frames of a completion and its whole answer: one fold, in OpenAI's shape."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec
import pytest
from dirty_equals import IsPositiveInt
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.errors import HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    TokenLogprob,
    Usage,
)
from tests.unit.gateway.completions import fold_frames, frames, make, token, whole

FINISHED = GenerationFinished(Usage(input_tokens=5, output_tokens=7, cached_tokens=2))
HELLO: tuple[Event, ...] = (
    GenerationQueued(2),
    GenerationStarted("w", 5),
    SequenceStarted(0),
    SequenceDelta(0, 'a"\n'),
    SequenceDelta(0, ""),
    SequenceFinished(0, "stop"),
    FINISHED,
)
ONCE = PromptEchoed(0, "<s>Once", (1, 2, 3), (None, token("On"), token("ce", -0.25, token("ce", -0.25))))
SAID: tuple[Event, ...] = (
    ONCE,
    SequenceStarted(0),
    SequenceDelta(0, " up", (4,), (token(" up", -0.75, token(" a", -0.125)),)),
    SequenceDelta(0, "", (5,), (token("!"),)),
    SequenceFinished(0, "length"),
    FINISHED,
)
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


@pytest.mark.parametrize("include_usage", [True, False])
def test_frames(include_usage: bool) -> None:
    text = make(stream=True, stream_options={"include_usage": include_usage}).render_events(HELLO).decode()
    created = msgspec.json.decode(text.partition("\n")[0].removeprefix("data: "))["created"]
    head = f'data: {{"id":"cmpl-1","object":"text_completion","created":{created},"model":"m","choices":['
    tail = '],"usage":null}\n\n' if include_usage else "]}\n\n"
    usage = f'{head}],"usage":{msgspec.json.encode(USAGE).decode()}}}\n\n' if include_usage else ""
    assert text == (
        f'{head}{{"index":0,"text":"a\\"\\n","logprobs":null,"finish_reason":null}}{tail}'
        f'{head}{{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}}{tail}'
        f"{usage}data: [DONE]\n\n"
    )


def test_a_whole_answer() -> None:
    assert whole(HELLO) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": IsPositiveInt(),
        "model": "m",
        "choices": [{"index": 0, "text": 'a"\n', "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }


def test_an_echo_comes_first() -> None:
    found = frames([SAID], echo=True)
    assert [frame["choices"][0]["text"] for frame in found] == ["Once", " up", ""]
    assert whole(SAID, echo=True)["choices"][0]["text"] == "Once up"


def test_an_echo_of_token_ids_is_what_they_say() -> None:
    assert whole(SAID, echo=True, prompt=[1, 2, 3])["choices"][0]["text"] == "<s>Once up"


def test_an_echo_with_log_probabilities() -> None:
    (choice,) = whole(SAID, echo=True, logprobs=1)["choices"]
    assert choice["logprobs"] == {
        "tokens": ["", "On", "ce", " up", "!"],
        "token_logprobs": [None, -0.5, -0.25, -0.75, -0.5],
        "top_logprobs": [None, {"On": -0.5}, {"ce": -0.25}, {" a": -0.125, " up": -0.75}, {"!": -0.5}],
        "text_offset": [0, 0, 2, 4, 7],
    }


def test_log_probabilities_without_an_echo() -> None:
    (choice,) = whole(SAID[1:], logprobs=0)["choices"]
    assert choice["logprobs"] == {
        "tokens": [" up", "!"],
        "token_logprobs": [-0.75, -0.5],
        "top_logprobs": [{" up": -0.75}, {"!": -0.5}],
        "text_offset": [0, 3],
    }


def test_a_frame_with_tokens_and_no_text() -> None:
    """A token that ends inside a character, or that a stop text may begin with, waits for the next."""
    found = frames([SAID[1:]], logprobs=0)
    assert [(f["choices"][0]["text"], f["choices"][0]["logprobs"] is None) for f in found] == [
        (" up", False),
        ("", False),
        ("", True),
    ]


def test_token_ids() -> None:
    (choice,) = whole(SAID, return_token_ids=True)["choices"]
    assert (choice["text"], choice["token_ids"], choice["prompt_token_ids"]) == (" up", [4, 5], [1, 2, 3])
    first, *rest = frames([SAID], return_token_ids=True)
    assert first["choices"][0]["prompt_token_ids"] == [1, 2, 3]
    assert not any("prompt_token_ids" in choice for frame in rest for choice in frame["choices"])


def test_prompt_log_probabilities_of_vllm() -> None:
    """They stand apart, by token id, and an echo that asks for more does not add to them."""
    item = TokenLogprob(2, "On", -0.5, b"On", (TokenLogprob(7, "A", -0.1), TokenLogprob(8, "B", -0.2)))
    events = (PromptEchoed(0, "Once", (1, 2), (None, item)), *SAID[1:])
    (choice,) = whole(events, prompt_logprobs=1, echo=True, logprobs=2)["choices"]
    assert choice["prompt_logprobs"] == [
        None,
        {
            "2": {"logprob": -0.5, "rank": None, "decoded_token": "On"},
            "7": {"logprob": -0.1, "rank": 1, "decoded_token": "A"},
        },
    ]
    assert choice["logprobs"]["top_logprobs"][1] == {"A": -0.1, "B": -0.2, "On": -0.5}


@pytest.mark.parametrize(("echo", "text", "tokens"), [(True, "Once", ["", "On", "ce"]), (False, "", [])])
def test_nothing_is_generated_if_nothing_is_asked_for(echo: bool, text: str, tokens: list[str]) -> None:
    answer = whole(SAID, echo=echo, logprobs=1, max_tokens=0)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["logprobs"]["tokens"], choice["finish_reason"]) == (text, tokens, "length")
    assert answer["usage"] == USAGE | {"completion_tokens": 0, "total_tokens": 5}
    found = frames([SAID], echo=echo, max_tokens=0, stream_options={"include_usage": True})
    assert fold_frames(found)[0]["text"] == text
    assert found[-1]["usage"] == answer["usage"]


def test_choices_of_several_prompts() -> None:
    """The choices of prompt p are those from p x n on."""
    events: list[Event] = [PromptEchoed(1, "B", (2,)), PromptEchoed(0, "A", (1,))]
    for index in (2, 0, 3, 1):
        events += [SequenceStarted(index), SequenceDelta(index, str(index)), SequenceFinished(index, "stop")]
    events.append(FINISHED)
    texts = ["A0", "A1", "B2", "B3"]
    body: dict[str, Any] = {"prompt": ["A", "B"], "n": 2, "echo": True}
    assert [choice["text"] for choice in whole(events, **body)["choices"]] == texts
    assert {i: choice["text"] for i, choice in fold_frames(frames([events], **body)).items()} == dict(enumerate(texts))


def test_what_lm_eval_reads() -> None:
    """It sums the log probabilities behind the context and without the last token, and asks whether they are greedy."""
    greedy = token("ce", -0.25, token("ce", -0.25))
    events = (PromptEchoed(0, "<s>Once", (1, 2, 3), (None, token("On", -0.5), greedy)), *SAID[1:3], *SAID[4:])
    (choice,) = whole(events, echo=True, logprobs=1, max_tokens=1, temperature=0, seed=1234)["choices"]
    context = 2
    scores = choice["logprobs"]["token_logprobs"][context:-1]
    tops = choice["logprobs"]["top_logprobs"][context:-1]
    assert sum(scores) == -0.25
    assert all(score == max(top.values()) for score, top in zip(scores, tops, strict=True))


def test_a_failure_in_a_stream() -> None:
    failed = GenerationFailed("engine_dead", "it died", "decode", retryable=True)
    assert make(stream=True).render_events([failed]).decode() == (
        'data: {"error":{"message":"it died","type":"server_error","param":null,"code":"engine_dead"}}\n\n'
    )


def test_a_failure_names_the_fields_of_this_dialect() -> None:
    failed = GenerationFailed("invalid_request", "no", "prefill", retryable=False, param="prompts[3]")
    assert b'"param":"prompt"' in make(stream=True).render_events([failed])


@pytest.mark.parametrize("end", [(SequenceFinished(0, "error"),), ()])
def test_a_sequence_that_was_given_up_is_never_shown_as_whole(end: Sequence[Event]) -> None:
    events = [SequenceStarted(0), SequenceDelta(0, "a"), *end, FINISHED]
    text = make(stream=True).render_events(events)
    assert b"[DONE]" not in text
    assert b'"code":"stream_broken"' in text
    with pytest.raises(HeadraceError) as raised:
        whole(events)
    assert raised.value.code == "stream_broken"


def test_an_answer_without_the_prompt_that_was_asked_for() -> None:
    with pytest.raises(HeadraceError) as raised:
        whole(HELLO, echo=True)
    assert raised.value.code == "stream_broken"


TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=6)
BODIES: tuple[dict[str, Any], ...] = (
    {},
    {"echo": True},
    {"logprobs": 1},
    {"echo": True, "logprobs": 1},
    {"echo": True, "logprobs": 0, "max_tokens": 0},
    {"return_token_ids": True},
    {"echo": True, "logprobs": 1, "return_token_ids": True},
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], list[list[Event]]]:
    """Two prompts and batches of a good stream: two sequences each, interleaved, their texts split anywhere."""
    prompts = draw(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=2, max_size=2))
    events: list[Event] = [
        PromptEchoed(i, text, (i,), (None, *(token(letter) for letter in text[1:]))) for i, text in enumerate(prompts)
    ]
    sequences: list[list[Event]] = []
    for index in range(4):
        deltas = [SequenceDelta(index, text, (len(text),), (token(text),)) for text in draw(TEXTS)]
        sequences.append([SequenceStarted(index), *deltas, SequenceFinished(index, "stop")])
    queues = [iter(sequence) for sequence in sequences]
    order = draw(st.permutations([i for i, sequence in enumerate(sequences) for _ in sequence]))
    events += [*(next(queues[i]) for i in order), FINISHED]
    cuts = draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    numbered = zip([sum(cuts[: i + 1]) for i in range(len(events))], events, strict=True)
    return prompts, [[event for _, event in group] for _, group in groupby(numbered, lambda pair: pair[0])]


@given(streams(), st.sampled_from(BODIES))
def test_a_stream_adds_up_to_the_whole_answer(case: tuple[list[str], list[list[Event]]], body: dict[str, Any]) -> None:
    prompts, batches = case
    change = {"prompt": prompts, "n": 2, **body}
    answer = whole([event for batch in batches for event in batch], **change)
    for choice in answer["choices"]:
        choice["logprobs"] = drop_empty(choice["logprobs"])
    assert fold_frames(frames(batches, **change)) == {choice["index"]: choice for choice in answer["choices"]}


def drop_empty(logprobs: dict[str, list[Any]] | None) -> dict[str, list[Any]] | None:
    """A stream has no frame to say that there were no tokens."""
    return logprobs if logprobs and logprobs["tokens"] else None


@given(TEXTS, TEXTS, st.sampled_from(BODIES[:2]))
def test_any_split_gives_the_same_answer(first: list[str], second: list[str], body: dict[str, Any]) -> None:
    joined = "".join(first + second)
    one: list[Event] = [SequenceDelta(0, joined)]
    many: list[Event] = [SequenceDelta(0, text) for text in first + second]
    answers = [[ONCE, SequenceStarted(0), *deltas, SequenceFinished(0, "stop"), FINISHED] for deltas in (one, many)]
    assert whole(answers[0], **body)["choices"] == whole(answers[1], **body)["choices"]
    assert fold_frames(frames([answers[0]], **body)) == fold_frames(frames([answers[1]], **body))

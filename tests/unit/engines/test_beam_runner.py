"""Driving an engine with a search: what is streamed, what is asked for, and that nothing is left behind."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.request import BeamSearchParams, GenerationParameters
from headrace.worker.engines.vllm.beam.grammar import Constraint
from headrace.worker.engines.vllm.beam.masks import MASK_ARGUMENT, Mask, is_allowed, mask_of
from headrace.worker.engines.vllm.beam.plan import BeamPlan, plan_beams
from headrace.worker.engines.vllm.beam.runner import BeamRun
from headrace.worker.engines.vllm.beam.search import Expansion
from headrace.worker.engines.vllm.beam.streams import AnswerStream, BeamSequence
from tests.unit.engines.beam_toys import ToyModel

SIZE, LENGTH = 4, 5


class ToyRequest:
    def __init__(self, output: Any, answers: asyncio.Event) -> None:
        self._output = output
        self._answers = answers
        self.is_done = False

    async def output(self) -> Any:
        await self._answers.wait()
        self.is_done = True
        return self._output


class ToyEngine:
    """Runs steps of a toy model, and honours masks."""

    def __init__(self, model: ToyModel, *, fail_at: int | None = None) -> None:
        self._model = model
        self._fail_at = fail_at
        self.requests: list[ToyRequest] = []
        self.running: list[ToyRequest] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()

    async def submit(self, token_ids: Sequence[int], arguments: dict[str, Any], *, name: str) -> ToyRequest:
        assert arguments["max_tokens"] == 1
        expansion = self._model.expand(tuple(token_ids))
        pairs = list(zip(expansion.token_ids, expansion.logprobs, strict=True))
        if (raw := arguments.get("extra_args", {}).get(MASK_ARGUMENT)) is not None:
            mask = np.frombuffer(raw, np.int32)
            pairs = [(token, logprob) for token, logprob in pairs if is_allowed(mask, token)]
            total = np.logaddexp.reduce([logprob for _, logprob in pairs])
            pairs = [(token, float(logprob - total)) for token, logprob in pairs]
        entries = {token: SimpleNamespace(logprob=logprob) for token, logprob in pairs[: arguments["logprobs"]]}
        # The engine always says what it sampled, also when a mask leaves less than was asked for.
        entries |= {token: SimpleNamespace(logprob=float("-inf")) for token in range(SIZE) if token not in entries}
        output: Any = SimpleNamespace(outputs=[SimpleNamespace(logprobs=[entries])], num_cached_tokens=len(token_ids))
        if self._fail_at == len(self.requests):
            output = SimpleNamespace(outputs=[SimpleNamespace(logprobs=None)], num_cached_tokens=0)
        request = ToyRequest(output, self.answers)
        self.requests.append(request)
        self.running.append(request)
        self.asked.set()
        return request

    async def abort(self, requests: Sequence[ToyRequest]) -> None:
        for request in requests:
            self.running.remove(request)

    @property
    def left(self) -> list[ToyRequest]:
        return [request for request in self.running if not request.is_done]


class ToyText:
    """A letter a token, and the end token none."""

    def __init__(self) -> None:
        self._text = ""

    def update(self, new_token_ids: list[int], stop_terminated: bool) -> str | None:
        kept = new_token_ids[:-1] if stop_terminated else new_token_ids
        self._text += "".join(chr(ord("a") + token) for token in kept)
        return None

    def get_next_output_text(self, finished: bool, delta: bool) -> str:
        text, self._text = self._text, ""
        return text


class ToyGrammar:
    """Each token but the end must be at least the one before; the end may come from the second on."""

    def __init__(self, tokens: tuple[int, ...] = ()) -> None:
        self._tokens = tokens

    def fork(self) -> Self:
        return type(self)(self._tokens)

    def accept(self, token_id: int) -> bool:
        is_valid = token_id in self.allowed(self._tokens)
        self._tokens = (*self._tokens, token_id)
        return is_valid

    def next_mask(self) -> Mask:
        return mask_of(self.allowed(self._tokens), vocabulary_size=SIZE)

    @staticmethod
    def allowed(tokens: tuple[int, ...]) -> list[int]:
        return [*([0] if len(tokens) >= 2 else []), *range(max(1, tokens[-1] if tokens else 1), SIZE)]


def plan_of(width: int, count: int, *, stopping: Any = "never", **arguments: Any) -> BeamPlan:
    return plan_beams(
        GenerationParameters(n=count, beam_search=BeamSearchParams(width=width, early_stopping=stopping)),
        {"max_tokens": LENGTH, **arguments},
        end_token_ids={0},
        vocabulary_size=SIZE,
        top_logprobs=0,
    )


def run_of(engine: ToyEngine, plan: BeamPlan, grammar: ToyGrammar | None = None) -> BeamRun:
    def show(token_id: int, place: Expansion) -> float:
        return place.logprobs[place.token_ids.index(token_id)]

    return BeamRun(
        engine,
        plan,
        constraint=Constraint(grammar, None, stopping_token_ids={0}, min_tokens=plan.ends.min_tokens),
        decode=lambda token_ids: "".join(chr(ord("a") + token) for token in token_ids),
        open_stream=lambda index: AnswerStream(index, ToyText(), show),
    )


async def read(run: BeamRun) -> tuple[list[list[BeamSequence]], list[BeamSequence]]:
    """Every output, and each answer joined."""
    steps = [output.outputs async for output in run.outputs()]
    joined: dict[int, BeamSequence] = {}
    for grown in [sequence for step in steps for sequence in step]:
        whole = joined.setdefault(grown.index, BeamSequence(index=grown.index, text="", token_ids=[], logprobs=[]))
        assert whole.finish_reason is None
        whole.text += grown.text
        whole.token_ids += grown.token_ids
        whole.logprobs = [*(whole.logprobs or []), *(grown.logprobs or [])]
        whole.finish_reason, whole.cumulative_logprob = grown.finish_reason, grown.cumulative_logprob
    return steps, [joined[index] for index in sorted(joined)]


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.booleans())
async def test_deltas_join_to_the_answers(seed: int, width: int, count: int, is_constrained: bool) -> None:
    model = ToyModel(seed, SIZE)
    plan = plan_of(width, min(count, width))
    engine = ToyEngine(model)
    _, answers = await read(run_of(engine, plan, ToyGrammar() if is_constrained else None))
    assert answers
    for answer in answers:
        tokens = tuple(answer.token_ids)
        ended = tokens[-1] == 0
        assert answer.text == "".join(chr(ord("a") + token) for token in (tokens[:-1] if ended else tokens))
        assert answer.finish_reason == ("stop" if ended else "length")
        assert answer.logprobs is not None
        assert sum(answer.logprobs) == pytest.approx(answer.cumulative_logprob)
    assert engine.left == []


@given(st.integers(0, 10_000), st.integers(1, 5))
async def test_under_a_grammar_the_best_of_everything_it_allows_is_found(seed: int, count: int) -> None:
    engine = ToyEngine(ToyModel(seed, SIZE))
    plan = plan_of(32, count)
    _, answers = await read(run_of(engine, plan, ToyGrammar()))
    best = ToyModel(seed, SIZE, ToyGrammar.allowed).rank_all(plan.rules)[:count]
    assert [tuple(answer.token_ids) for answer in answers] == [tokens for _, tokens in best]


async def test_text_comes_as_soon_as_all_beams_have_it() -> None:
    def allowed(tokens: tuple[int, ...]) -> list[int]:
        return [1] if len(tokens) < 3 else [2, 3]

    steps, answers = await read(run_of(ToyEngine(ToyModel(1, SIZE, allowed)), plan_of(2, 2)))
    grown = [[(sequence.index, sequence.text) for sequence in step] for step in steps]
    # The second answer is certain only once there are two beams; until then the first is alone.
    assert grown[:4] == [[(0, "b")], [(0, "b")], [(0, "b")], [(1, "bbb")]]
    assert len(answers) == 2


async def test_fewer_answers_than_asked_for_where_there_are_no_more() -> None:
    def allowed(tokens: tuple[int, ...]) -> list[int]:
        return [0] if tokens else [1, 2]

    _, answers = await read(run_of(ToyEngine(ToyModel(1, SIZE, allowed)), plan_of(4, 3)))
    assert sorted(answer.text for answer in answers) == ["b", "c"]


async def test_least_length_under_a_grammar_gives_way_to_it() -> None:
    class OneToken(ToyGrammar):
        @staticmethod
        def allowed(tokens: tuple[int, ...]) -> list[int]:
            return [0] if tokens else [0, 2]

    _, answers = await read(run_of(ToyEngine(ToyModel(1, SIZE)), plan_of(2, 1, min_tokens=1), OneToken()))
    assert [answer.token_ids for answer in answers] == [[2, 0]]


async def test_closing_takes_every_step_out_of_the_engine() -> None:
    engine = ToyEngine(ToyModel(3, SIZE))
    async with aclosing(run_of(engine, plan_of(4, 4)).outputs()) as outputs:
        await anext(outputs)
    assert engine.left == []


async def test_cancelling_takes_every_step_out_of_the_engine() -> None:
    engine = ToyEngine(ToyModel(3, SIZE))
    engine.answers.clear()
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read(run_of(engine, plan_of(4, 4))))
        await engine.asked.wait()
        reader.cancel()
    assert engine.running == []


async def test_a_step_that_the_engine_gives_up_fails_the_search_alone() -> None:
    engine = ToyEngine(ToyModel(3, SIZE), fail_at=2)
    with pytest.raises(HeadraceError) as caught:
        await read(run_of(engine, plan_of(3, 1)))
    assert caught.value.code is ErrorCode.ENGINE_ERROR
    assert engine.left == []


async def test_a_token_that_the_grammar_forbids_is_an_error_of_the_engine() -> None:
    class Strict(ToyGrammar):
        def accept(self, token_id: int) -> bool:
            return False

    with pytest.raises(HeadraceError) as caught:
        await read(run_of(ToyEngine(ToyModel(3, SIZE)), plan_of(3, 1), Strict()))
    assert caught.value.code is ErrorCode.ENGINE_ERROR

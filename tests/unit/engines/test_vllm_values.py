"""The parts of the vLLM engine that are plain functions of values; vLLM itself is not needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFinished,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.request import BeamSearchParams, GenerationParameters, OutputFlags
from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.extensions import read_extension
from headrace.worker.engines.vllm.fold import EventFold, PromptShape, Unit
from headrace.worker.engines.vllm.options import CPU_KV_CACHE_BYTES, Machine, engine_arguments
from headrace.worker.engines.vllm.reading.base import Piece, Reader
from headrace.worker.engines.vllm.sampling import (
    VllmExtension,
    effective_max_tokens,
    engine_priority,
    sampling_arguments,
)
from headrace.worker.engines.vllm.tokens import TokenTable

KNOWN = (
    "model",
    "max_num_seqs",
    "max_model_len",
    "kv_cache_memory_bytes",
    "scheduling_policy",
    "quantization",
    "dtype",
)


CPU = Machine(is_cpu=True)
GPU = Machine(is_cpu=False)


class Sequence(Struct):
    index: int = 0
    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: list[Any] | None = None


class Entry(Struct):
    logprob: float
    rank: int | None = None


class Step(Struct):
    outputs: list[Sequence]
    finished: bool = False
    num_cached_tokens: int | None = None
    prompt_logprobs: list[Any] | None = None


def arguments_of(model: ModelSettings, *, machine: Machine = CPU) -> dict[str, Any]:
    return engine_arguments(model, name="m", weights=Path("w"), known=KNOWN, machine=machine)


def test_a_cpu_gets_what_makes_it_right() -> None:
    arguments = arguments_of(ModelSettings(weights="w", slots=3, max_model_tokens=99))
    assert arguments["max_num_seqs"] == 3
    assert arguments["max_model_len"] == 99
    assert arguments["enforce_eager"] is True
    assert arguments["kv_cache_memory_bytes"] == CPU_KV_CACHE_BYTES
    assert arguments["scheduling_policy"] == "priority"


def test_a_gpu_decides_for_itself_unless_told() -> None:
    arguments = arguments_of(ModelSettings(weights="w"), machine=GPU)
    assert "enforce_eager" not in arguments
    assert "kv_cache_memory_bytes" not in arguments
    told = arguments_of(ModelSettings(weights="w", kv_cache_bytes=7), machine=GPU)
    assert told["kv_cache_memory_bytes"] == 7


def test_a_cpu_without_fast_bfloat16_takes_float32_unless_told() -> None:
    old = Machine(is_cpu=True, has_fast_bfloat16=False)
    assert arguments_of(ModelSettings(weights="w"), machine=old)["dtype"] == "float32"
    told = ModelSettings(weights="w", engine_options={"dtype": "bfloat16"})
    assert arguments_of(told, machine=old)["dtype"] == "bfloat16"
    assert "dtype" not in arguments_of(ModelSettings(weights="w"))


def test_further_arguments_pass() -> None:
    model = ModelSettings(weights="w", engine_options={"quantization": "fp8"})
    assert arguments_of(model)["quantization"] == "fp8"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "quantisation",
            "models.m.engine_options.quantisation is not an argument of vLLM's engine; did you mean quant",
        ),
        ("max_num_seqs", "models.m.engine_options.max_num_seqs has a setting of its own: use models.m.slots"),
        ("scheduling_policy", "models.m.engine_options.scheduling_policy can't be changed"),
    ],
)
def test_a_wrong_option_is_refused_by_name(option: str, message: str) -> None:
    with pytest.raises(EngineSetupError) as caught:
        arguments_of(ModelSettings(weights="w", engine_options={option: 1}))
    assert message in str(caught.value)


def sampled(
    parameters: GenerationParameters, extension: VllmExtension | None = None, **defaults: Any
) -> dict[str, Any]:
    return sampling_arguments(parameters, extension, defaults=defaults, max_tokens=5)


def test_the_models_defaults_hold_where_the_request_says_nothing() -> None:
    arguments = sampled(GenerationParameters(top_p=0.5, top_k=0), temperature=0.2, top_p=0.9, top_k=20, max_tokens=7)
    assert arguments == {"temperature": 0.2, "top_p": 0.5, "top_k": 0, "max_tokens": 5, "n": 1}


def test_a_search_ignores_what_is_for_sampling() -> None:
    parameters = GenerationParameters(
        beam_search=BeamSearchParams(width=4), n=3, temperature=0.0, top_p=0.5, top_k=3, min_p=0.1, seed=7, stop=("x",)
    )
    assert sampled(parameters, repetition_penalty=1.1) == {"n": 1, "max_tokens": 5, "stop": ["x"]}


def test_every_seed_is_one_that_vllm_takes_as_a_seed() -> None:
    seeds = [sampled(GenerationParameters(seed=seed))["seed"] for seed in (-(2**63), -1, 0, 2**63 - 1)]
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert "seed" not in sampled(GenerationParameters())


def test_max_tokens_of_the_model_hold_within_the_budget() -> None:
    assert effective_max_tokens(GenerationParameters(), {"max_tokens": 7}, budget=100) == 7
    assert effective_max_tokens(GenerationParameters(), {"max_tokens": 700}, budget=100) == 100
    assert effective_max_tokens(GenerationParameters(max_tokens=50), {"max_tokens": 7}, budget=50) == 50


def test_priority_is_turned_round() -> None:
    assert [engine_priority(priority) for priority in (9, 5, 0)] == [0, 4, 9]
    assert [engine_priority(priority, "batch") for priority in (9, 5, 0)] == [10, 14, 19]


def test_the_extension_becomes_arguments() -> None:
    extension = read_extension({"vllm": {"stop_token_ids": [1, 2], "bad_words": ["x"]}}, "vllm", VllmExtension)
    arguments = sampled(GenerationParameters(), extension)
    assert arguments["stop_token_ids"] == [1, 2]
    assert arguments["bad_words"] == ["x"]
    assert "chat_template_kwargs" not in arguments


def test_what_was_not_asked_for_is_left_out() -> None:
    parameters = GenerationParameters(min_tokens=2, ignore_eos=True, logit_bias={17: -2.5}, stop=("x",))
    arguments = sampled(parameters)
    assert arguments["min_tokens"] == 2
    assert arguments["ignore_eos"] is True
    assert arguments["logit_bias"] == {17: -2.5}
    assert arguments["stop"] == ["x"]
    assert not sampled(GenerationParameters()).keys() & {"min_tokens", "ignore_eos", "logit_bias", "stop", "logprobs"}


def test_flags_ask_for_log_probabilities() -> None:
    flags = OutputFlags(logprobs=True, top_logprobs=3, prompt=True, prompt_logprobs=0)
    arguments = sampling_arguments(GenerationParameters(), None, defaults={}, max_tokens=5, flags=flags)
    assert arguments["logprobs"] == 3
    assert arguments["prompt_logprobs"] == 0


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        ({}, {"add_generation_prompt": True}),
        ({"enable_thinking": False}, {"add_generation_prompt": True, "enable_thinking": False}),
        ({"continue_final_message": True}, {"add_generation_prompt": False, "continue_final_message": True}),
    ],
)
def test_an_answer_begins_anew_or_goes_on(given: dict[str, Any], variables: dict[str, Any]) -> None:
    assert VllmExtension(chat_template_kwargs=given).template_arguments == variables


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"stop_token_ids": [-1]}, "vllm.stop_token_ids"),
        ({"chat_template_kwargs": {"chat_template": "{{ 7 }}"}}, "vllm"),
        ({"chat_template_kwargs": {"tools": []}}, "vllm"),
        ({"chat_template_kwargs": {"continue_final_message": True, "add_generation_prompt": True}}, "vllm"),
        ({"nothing": 1}, "vllm.nothing"),
    ],
)
def test_a_wrong_extension_is_refused(value: dict[str, Any], param: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        read_extension({"vllm": value}, "vllm", VllmExtension)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert (caught.value.param or "").startswith(f"generation_parameters.provider_extensions.{param}")


NO_TOKENS = TokenTable({7: "a", 8: "b", 9: "\u00c3"}.get, frozenset(), "byte-level")
PROMPT = PromptShape("abcd", (1, 2, 3, 4))


def fold_of(*units: Unit, make_reader: Callable[[int], Reader] | None = None, **flags: Any) -> EventFold:
    chosen = units or (Unit(0, 0),)
    prompts = [PROMPT] * (1 + max(unit.prompt for unit in chosen))
    return EventFold(prompts, chosen, OutputFlags(**flags), tokens=NO_TOKENS, make_reader=make_reader)


def test_outputs_become_events() -> None:
    fold = fold_of()
    assert fold.begin() == []
    assert fold.read(0, Step([Sequence(0, "Hi", (7,))], num_cached_tokens=3)) == [
        SequenceStarted(0),
        SequenceDelta(0, "Hi"),
    ]
    # Text that may turn out to be a stop text, or half a character, is held back: no event for it.
    assert fold.read(0, Step([Sequence(0, "", (8,))])) == []
    last = Step([Sequence(0, "!", (9,), "stop", "END"), Sequence(1, "Yo", (7,), "length", 2)], finished=True)
    assert fold.read(0, last) == [
        SequenceDelta(0, "!"),
        SequenceFinished(0, "stop", "END"),
        SequenceStarted(1),
        SequenceDelta(1, "Yo"),
        SequenceFinished(1, "length"),
        GenerationFinished(Usage(4, 4, 3)),
    ]
    assert fold.is_finished


def test_token_ids_come_with_the_step_that_sampled_them() -> None:
    fold = fold_of(token_ids=True)
    assert fold.read(0, Step([Sequence(0, "", (7,))])) == [SequenceStarted(0), SequenceDelta(0, "", (7,))]
    assert fold.read(0, Step([Sequence(0, "é", (8,))])) == [SequenceDelta(0, "é", (8,))]


def test_log_probabilities_come_with_their_tokens() -> None:
    fold = fold_of(logprobs=True, top_logprobs=1)
    place = {7: Entry(-0.5, 1), 9: Entry(-2.0, 2)}
    (_, delta) = fold.read(0, Step([Sequence(0, "", (9,), logprobs=[place])]))
    assert delta == SequenceDelta(
        0, "", None, (TokenLogprob(9, "\ufffd", -2.0, b"\xc3", (TokenLogprob(7, "a", -0.5),)),)
    )


def test_several_requests_are_one_job() -> None:
    fold = fold_of(Unit(0, 0), Unit(0, 1), Unit(1, 2))
    assert fold.input_tokens == 8
    done = Step([Sequence(0, "x", (7,), "stop")], finished=True, num_cached_tokens=2)
    assert fold.read(2, done) == [SequenceStarted(2), SequenceDelta(2, "x"), SequenceFinished(2, "stop")]
    assert fold.read(0, done)[-1] == SequenceFinished(0, "stop")
    assert not fold.is_finished
    # What the two requests for one prompt found in the cache is counted once, as the prompt is.
    assert fold.read(1, done)[-1] == GenerationFinished(Usage(8, 3, 4))
    assert fold.is_finished


def test_prompts_are_told_at_once_or_with_their_log_probabilities() -> None:
    echo = PromptEchoed(0, "abcd", (1, 2, 3, 4))
    assert fold_of(prompt=True).begin() == [echo]
    fold = fold_of(Unit(0, 0), Unit(0, 1), prompt=True, prompt_logprobs=0)
    assert fold.begin() == []
    places = [None, {2: Entry(-1.0, 1)}, {3: Entry(-1.0, 1)}, {4: Entry(-1.0, 1)}]
    events = fold.read(1, Step([Sequence(0, "x", (7,))], prompt_logprobs=places))
    assert isinstance(events[0], PromptEchoed)
    assert events[0].logprobs is not None
    assert [entry and entry.token_id for entry in events[0].logprobs] == [None, 2, 3, 4]
    assert events[1] == SequenceStarted(1)
    assert SequenceStarted(0) == fold.read(0, Step([Sequence(0, "x", (7,))], prompt_logprobs=places))[0]


class Thinker:
    """Thinks its first step, and calls a tool in its last."""

    has_calls = True
    reasoning_tokens = 1

    def read(self, text: str, token_ids: Any, *, is_last: bool) -> Piece:
        del token_ids
        return Piece(calls=(ToolCallDelta(0, text),)) if is_last else Piece(reasoning=text, is_thinking=True)


def make_thinker(sequence: int) -> Reader:
    del sequence
    return Thinker()


THOUGHT = Step([Sequence(0, "Hm", (7,), logprobs=[{7: Entry(-1.0, 1)}])])


def test_what_nobody_is_told_is_not_told_by_its_tokens() -> None:
    fold = fold_of(make_reader=make_thinker, token_ids=True, logprobs=True)
    assert fold.read(0, THOUGHT) == [SequenceStarted(0)]
    told = fold_of(make_reader=make_thinker, token_ids=True, reasoning=True)
    assert told.read(0, THOUGHT)[1] == SequenceDelta(0, "", (7,), None, "Hm")


def test_an_answer_with_calls_says_so_unless_it_was_cut() -> None:
    fold = fold_of(make_reader=make_thinker)
    fold.read(0, THOUGHT)
    last = fold.read(0, Step([Sequence(0, "{}", (8,), "stop")], finished=True))
    assert last == [
        SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, "{}"),)),
        SequenceFinished(0, "tool_calls"),
        GenerationFinished(Usage(4, 2, 0, 1)),
    ]
    cut = fold_of(make_reader=make_thinker).read(0, Step([Sequence(0, "{", (8,), "length")], finished=True))
    assert SequenceFinished(0, "length") in cut


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_is_not_whole_is_an_error(reason: str) -> None:
    fold = fold_of()
    with pytest.raises(HeadraceError) as caught:
        fold.read(0, Step([Sequence(0, "Hi", (7,), reason)], finished=True))
    assert caught.value.code is ErrorCode.ENGINE_ERROR

"""The parts of the vLLM engine that are plain functions of values; vLLM itself is not needed."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.request import GenerationParameters
from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.extensions import read_extension
from headrace.worker.engines.vllm.fold import EventFold
from headrace.worker.engines.vllm.options import CPU_KV_CACHE_BYTES, Machine, engine_arguments
from headrace.worker.engines.vllm.sampling import (
    VllmExtension,
    effective_max_tokens,
    engine_priority,
    sampling_arguments,
)

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


class Step(Struct):
    outputs: list[Sequence]
    finished: bool = False
    num_cached_tokens: int | None = None


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


def test_the_extension_becomes_arguments() -> None:
    extension = read_extension(
        {"vllm": {"ignore_eos": True, "stop_token_ids": [1, 2], "logit_bias": {"17": -2.5}}}, "vllm", VllmExtension
    )
    arguments = sampled(GenerationParameters(), extension)
    assert arguments["ignore_eos"] is True
    assert arguments["stop_token_ids"] == [1, 2]
    assert arguments["logit_bias"] == {17: -2.5}
    assert "chat_template_kwargs" not in arguments


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"logit_bias": {"x": 1}}, "vllm.logit_bias"),
        ({"min_tokens": -1}, "vllm.min_tokens"),
        ({"chat_template_kwargs": {"chat_template": "{{ 7 }}"}}, "vllm"),
        ({"nothing": 1}, "vllm.nothing"),
    ],
)
def test_a_wrong_extension_is_refused(value: dict[str, Any], param: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        read_extension({"vllm": value}, "vllm", VllmExtension)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert (caught.value.param or "").startswith(f"generation_parameters.provider_extensions.{param}")


def test_outputs_become_events() -> None:
    fold = EventFold(input_tokens=4, token_ids=False)
    assert fold.read(Step([Sequence(0, "Hi", (7,))], num_cached_tokens=3)) == [
        SequenceStarted(0),
        SequenceDelta(0, "Hi"),
    ]
    # Text that may turn out to be a stop text, or half a character, is held back: no event for it.
    assert fold.read(Step([Sequence(0, "", (8,))])) == []
    last = Step([Sequence(0, "!", (9,), "stop", "END"), Sequence(1, "Yo", (7,), "length", 2)], finished=True)
    assert fold.read(last) == [
        SequenceDelta(0, "!"),
        SequenceFinished(0, "stop", "END"),
        SequenceStarted(1),
        SequenceDelta(1, "Yo"),
        SequenceFinished(1, "length"),
        GenerationFinished(Usage(4, 4, 3)),
    ]
    assert fold.is_finished


def test_token_ids_come_with_the_step_that_sampled_them() -> None:
    fold = EventFold(input_tokens=4, token_ids=True)
    assert fold.read(Step([Sequence(0, "", (7,))])) == [SequenceStarted(0), SequenceDelta(0, "", (7,))]
    assert fold.read(Step([Sequence(0, "é", (8,))])) == [SequenceDelta(0, "é", (8,))]


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_is_not_whole_is_an_error(reason: str) -> None:
    fold = EventFold(input_tokens=4, token_ids=False)
    with pytest.raises(HeadraceError) as caught:
        fold.read(Step([Sequence(0, "Hi", (7,), reason)], finished=True))
    assert caught.value.code is ErrorCode.ENGINE_ERROR

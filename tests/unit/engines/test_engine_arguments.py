"""What of vLLM's arguments follows from the kind of a model and from its adapters."""

from pathlib import Path
from typing import Any

import pytest

from headrace.schema.request import MAX_BEAM_WIDTH
from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.vllm.adapters import Adapter
from headrace.worker.engines.vllm.options import Machine, engine_arguments

KNOWN = ("runner", "max_loras", "max_lora_rank")


def arguments_of(*adapters: Adapter, is_cpu: bool = False, **settings: Any) -> dict[str, Any]:
    model = ModelSettings(weights="w", **settings)
    machine = Machine(is_cpu=is_cpu)
    return engine_arguments(model, name="m", weights=Path("w"), known=KNOWN, machine=machine, adapters=adapters)


def test_a_model_that_embeds_has_the_pooling_runner() -> None:
    assert arguments_of(task="embed")["runner"] == "pooling"
    assert "runner" not in arguments_of()


def test_the_runner_can_not_be_chosen_otherwise() -> None:
    with pytest.raises(EngineSetupError, match="runner"):
        arguments_of(engine_options={"runner": "pooling"})


def test_the_widest_search_finds_enough_candidates() -> None:
    assert arguments_of()["max_logprobs"] >= 2 * MAX_BEAM_WIDTH


def test_adapters_decide_over_options() -> None:
    adapter = Adapter("a", Path("a"), 12, 1)
    options = {"max_loras": 1, "max_lora_rank": 8}
    arguments = arguments_of(adapter, is_cpu=True, engine_options=options)
    assert (arguments["max_loras"], arguments["max_lora_rank"]) == (2, 16)


def test_blocks_on_a_cpu_are_small_so_that_prefixes_are_found_again() -> None:
    assert arguments_of(is_cpu=True)["block_size"] == 32
    assert "block_size" not in arguments_of()

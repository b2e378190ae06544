"""From a model's settings to vLLM's engine arguments."""

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from headrace.schema.settings import ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.vllm.adapters import Adapter, adapter_arguments
from headrace.worker.engines.vllm.beam.plan import MAX_CANDIDATES

CPU_KV_CACHE_BYTES = 512 * 1024 * 1024
CPU_BLOCK_TOKENS = 32

# Arguments that a setting of ours decides, and the setting.
_OWNED = {
    "model": "weights",
    "max_num_seqs": "slots",
    "max_model_len": "max_model_tokens",
    "kv_cache_memory_bytes": "kv_cache_bytes",
    "reasoning_parser": "reasoning_parser",
}
# Arguments that the worker relies on.
_FIXED = frozenset(
    {
        "logits_processors",
        "runner",
        "scheduler_cls",
        "scheduling_policy",
        "stream_interval",
        "structured_outputs_config",
    }
)


class Machine(Struct, frozen=True, kw_only=True):
    """What vLLM runs on.

    Attributes:
        is_cpu: it runs on the CPU.
        has_fast_bfloat16: it multiplies bfloat16, in which most models come, without a detour.
    """

    is_cpu: bool
    has_fast_bfloat16: bool = True


def engine_arguments(
    model: ModelSettings,
    *,
    name: str,
    weights: Path,
    known: Collection[str],
    machine: Machine,
    adapters: Sequence[Adapter] = (),
) -> dict[str, Any]:
    """Return the arguments of vLLM's engine for a model.

    Args:
        model: its settings.
        name: its served name, for messages.
        weights: the folder with its weights.
        known: every argument that vLLM knows.
        machine: what vLLM runs on.
        adapters: what is served beside the model.

    Raises:
        EngineSetupError: an entry of `engine_options` is not an argument of vLLM, or is ours to decide.
    """
    arguments: dict[str, Any] = {
        "model": str(weights),
        "max_num_seqs": model.slots,
        "max_model_len": model.max_model_tokens,
        "scheduling_policy": "priority",
        "use_tqdm_on_load": False,
        "max_logprobs": MAX_CANDIDATES,
    }
    if model.task == "embed":
        arguments["runner"] = "pooling"
    else:
        # Left to itself, the engine's process takes whichever backend the first request happened to need, and runs all
        # others with it; this one has every kind of constraint that we write.
        arguments["structured_outputs_config"] = {"backend": "xgrammar"}
    if machine.is_cpu:
        # Compiled without triton, vLLM on a CPU gave unrelated text at temperature 0.
        arguments["enforce_eager"] = True
        arguments["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
        # The prefix cache keeps whole blocks. With the 128 tokens that vLLM takes on a CPU, a step of a beam search and
        # the next turn of a chat compute much again: searches took three times as long, and nothing was faster.
        arguments["block_size"] = CPU_BLOCK_TOKENS
    if not machine.has_fast_bfloat16:
        # Two to four times as fast as bfloat16 that the processor can't multiply by itself.
        arguments["dtype"] = "float32"
    if model.kv_cache_bytes:
        arguments["kv_cache_memory_bytes"] = model.kv_cache_bytes
    for option, value in model.engine_options.items():
        _check_option(option, f"models.{name}.", known)
        arguments[option] = value
    return arguments | adapter_arguments(adapters, is_cpu=machine.is_cpu)


def _check_option(option: str, prefix: str, known: Collection[str]) -> None:
    path = f"{prefix}engine_options.{option}"
    if option in _OWNED:
        raise EngineSetupError(f"{path} has a setting of its own: use {prefix}{_OWNED[option]}")
    if option in _FIXED:
        raise EngineSetupError(f"{path} can't be changed: the worker relies on it")
    if option not in known:
        close = difflib.get_close_matches(option, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise EngineSetupError(f"{path} is not an argument of vLLM's engine{hint}")

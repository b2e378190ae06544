"""GGUF tensors of a Llama-architecture model, as the tensors that transformers and vLLM know.

Two things differ beside the names: the values are quantised, and the rows of the query and key projections are
reordered, because GGUF rotates neighbouring pairs where transformers rotates the two halves of a head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.models.bfloat16 import to_bfloat16_bits
from headrace.models.errors import WeightsError
from headrace.models.gguf_file import GgufTensor
from headrace.models.llama_folder import LlamaConfig
from headrace.models.progress import ProgressCallback
from headrace.models.safetensors_file import TensorSpec

_OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


def to_llama_name(gguf_name: str) -> str:
    """Return the name that transformers gives a tensor.

    Raises:
        WeightsError: The architecture has no such tensor: dropping it would change what the model computes.
    """
    if gguf_name in _OUTER_NAMES:
        return _OUTER_NAMES[gguf_name]
    found = _LAYER_TENSOR.fullmatch(gguf_name)
    if found is None or found[2] not in _LAYER_NAMES:
        message = (
            f"the GGUF tensor {gguf_name} has no place in a plain Llama model; convert this one with its own tools"
        )
        raise WeightsError(message)
    return f"model.layers.{found[1]}.{_LAYER_NAMES[found[2]]}.weight"


def list_tensor_specs(tensors: Sequence[GgufTensor]) -> list[TensorSpec]:
    """Return what the converted file will hold, in the order of `tensors`.

    Raises:
        WeightsError: A tensor has no counterpart.
    """
    return [TensorSpec(to_llama_name(tensor.name), tensor.shape) for tensor in tensors]


def restore_head_order(rows: NDArray[np.float32], head_count: int) -> NDArray[np.float32]:
    """Undo GGUF's order of a query or key projection: (head, pair, half) back to (head, half, pair)."""
    by_pair = rows.reshape(head_count, rows.shape[0] // head_count // 2, 2, rows.shape[1])
    return by_pair.swapaxes(1, 2).reshape(rows.shape)


def iter_converted(
    tensors: Sequence[GgufTensor], config: LlamaConfig, *, on_progress: ProgressCallback
) -> Iterator[NDArray[np.uint16]]:
    """Yield the bfloat16 bits of each tensor, in pieces of whole rows; progress is told in values."""
    total = sum(int(np.prod(tensor.shape)) for tensor in tensors)
    done = 0
    for tensor in tensors:
        for values in _iter_values(tensor, config):
            yield to_bfloat16_bits(values)
            done += values.size
            on_progress("convert weights", done=done, total=total)


def _iter_values(tensor: GgufTensor, config: LlamaConfig) -> Iterator[NDArray[np.float32]]:
    if tensor.name.endswith(".attn_q.weight"):
        head_count = config.num_attention_heads
    elif tensor.name.endswith(".attn_k.weight"):
        head_count = config.num_key_value_heads
    else:
        yield from tensor.iter_values()
        return
    yield restore_head_order(np.concatenate(list(tensor.iter_values())), head_count)

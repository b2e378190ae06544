"""Random weights that are the same bytes everywhere, and that speak in words.

A model of plain random weights prints broken bytes, stops at a random moment and, when greedy, says one word for ever:
a test could not tell a lost token from a repeated one. So three things are built in:

- One coordinate of the residual stream is a constant: every embedding has it, and no layer writes to it. The output
  projection reads it as a bias for each token: words are likely, other printable characters possible, and what can't be
  printed or would end the answer practically never comes. An answer runs to its token limit.
- The output projection subtracts the embedding, so no token follows itself.
- Attention is sharp and the layers write loudly, so the next token depends on the whole context.

The values come from integers by exact arithmetic, hence the same bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headrace.models.bfloat16 import to_bfloat16_bits
from headrace.models.llama_folder import LlamaConfig
from headrace.models.safetensors_file import TensorSpec
from headrace.models.tiny_tokenizer import SPACE, WORDS

_SEED = 20_260_101
_CONSTANT = 0  # the coordinate
_CONSTANT_VALUE = 4.0
_RANDOM_BITS = 24
_GAINS = {"q_proj": 3.0, "k_proj": 3.0, "o_proj": 2.0, "down_proj": 2.0, "lm_head": 1.5}
_SELF_PENALTY = 0.05
_WORD_BIAS = 1.0
_PRINTABLE_BIAS = -0.7
_SUPPRESSED_BIAS = -8.0
_SENTENCE_CHARACTERS = (".", ",")


def list_tiny_specs(config: LlamaConfig) -> list[TensorSpec]:
    """Return the tensors of an untied Llama model, in the order in which their values are drawn."""
    hidden = config.hidden_size
    query = config.num_attention_heads * config.head_dim
    key = config.num_key_value_heads * config.head_dim
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden),
        "self_attn.o_proj": (hidden, query),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (config.intermediate_size, hidden),
        "mlp.up_proj": (config.intermediate_size, hidden),
        "mlp.down_proj": (hidden, config.intermediate_size),
    }
    layers = [
        TensorSpec(f"model.layers.{index}.{name}.weight", shape)
        for index in range(config.num_hidden_layers)
        for name, shape in layer.items()
    ]
    vocabulary = (config.vocab_size, hidden)
    embedding = TensorSpec("model.embed_tokens.weight", vocabulary)
    return [embedding, *layers, TensorSpec("model.norm.weight", (hidden,)), TensorSpec("lm_head.weight", vocabulary)]


def iter_tiny_weights(specs: list[TensorSpec], vocabulary: list[str]) -> Iterator[NDArray[np.uint16]]:
    """Yield the bfloat16 bits of each tensor."""
    source = np.random.PCG64(_SEED)
    embedding = _draw_embedding(source, specs[0].shape)
    yield to_bfloat16_bits(embedding)
    for spec in specs[1:]:
        if len(spec.shape) == 1:
            yield to_bfloat16_bits(np.ones(spec.shape, np.float32))
            continue
        kind = spec.name.split(".")[-2]
        values = _draw(source, spec.shape) * np.float32(_GAINS.get(kind, 1.0))
        if kind in ("o_proj", "down_proj"):
            values[_CONSTANT, :] = 0
        elif kind == "lm_head":
            values -= embedding * np.float32(_SELF_PENALTY)
            values[:, _CONSTANT] = [_get_bias(token) for token in vocabulary]
        yield to_bfloat16_bits(values)


def _draw_embedding(source: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = _draw(source, shape) * np.float32(math.sqrt(shape[1]))
    values[:, _CONSTANT] = _CONSTANT_VALUE
    return values


def _draw(source: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.float32]:
    # Uniform, of variance 1 / fan-in, so that values keep their size through the layers.
    raw = source.random_raw(math.prod(shape)) >> np.uint64(64 - _RANDOM_BITS)
    centred = raw.astype(np.float32) * np.float32(2.0 ** (1 - _RANDOM_BITS)) - np.float32(1)
    return (centred * np.float32(math.sqrt(3 / shape[1]))).reshape(shape)


def _get_bias(token: str) -> float:
    if token.removeprefix(SPACE) in WORDS and token.startswith(SPACE):
        return _WORD_BIAS
    if token in _SENTENCE_CHARACTERS:
        return _WORD_BIAS
    is_printable = token == SPACE or (len(token) == 1 and token.isascii())
    return _PRINTABLE_BIAS if is_printable else _SUPPRESSED_BIAS

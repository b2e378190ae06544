"""The files around the weights of a Llama-architecture model, as transformers and vLLM read them.

The names of the fields are theirs. Both of our sources of weights write their folders through here.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "config.json"


class RopeParameters(msgspec.Struct, frozen=True):
    """Rotary position embedding without any scaling."""

    rope_theta: float
    rope_type: str = "default"


class LlamaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`config.json`: the architecture."""

    architectures: tuple[str, ...] = ("LlamaForCausalLM",)
    model_type: str = "llama"
    dtype: str = "bfloat16"
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_parameters: RopeParameters
    hidden_act: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int


class TokenizerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`tokenizer_config.json`: what the tokens mean to a chat.

    The class is the plain one on purpose: a named class (GPT2Tokenizer, ...) may rebuild the pre-tokenizer its own way.
    """

    tokenizer_class: str = "PreTrainedTokenizerFast"
    bos_token: str
    eos_token: str
    pad_token: str
    unk_token: str | None = None
    model_max_length: int
    clean_up_tokenization_spaces: bool = False
    chat_template: str


class GenerationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`generation_config.json`: which tokens begin, end and pad."""

    bos_token_id: int
    eos_token_id: int
    pad_token_id: int


def write_model_configs(folder: Path, config: LlamaConfig, *, tokenizer_config: TokenizerConfig) -> None:
    """Write the three small files of a model's folder; the weights and `tokenizer.json` come from their own writers."""
    generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )
    _write_json(folder / CONFIG_FILE, config)
    _write_json(folder / "tokenizer_config.json", tokenizer_config)
    _write_json(folder / "generation_config.json", generation_config)


def _write_json(path: Path, content: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")

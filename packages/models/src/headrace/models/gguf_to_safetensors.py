"""Turns a GGUF file into a folder that vLLM and transformers load: vLLM on a CPU can't read GGUF itself.

Only `gguf`, numpy and `tokenizers` are needed, so a machine without torch can convert too. The weights come out
bit-identical to those that transformers dequantises.
"""

from __future__ import annotations

from pathlib import Path

from headrace.models.errors import WeightsError
from headrace.models.gguf_file import GgufFile
from headrace.models.gguf_tokenizer import build_tokenizer
from headrace.models.gguf_weights import iter_converted, list_tensor_specs
from headrace.models.llama_folder import (
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    LlamaConfig,
    RopeParameters,
    TokenizerConfig,
    write_model_configs,
)
from headrace.models.progress import ProgressCallback
from headrace.models.safetensors_file import write_safetensors


def convert_gguf(path: Path, folder: Path, *, on_progress: ProgressCallback) -> None:
    """Write the model of a GGUF file as bfloat16 safetensors.

    Args:
        path: The GGUF file: a Llama architecture with SmolLM's tokenizer.
        folder: An existing folder; files in it are overwritten.
        on_progress: Told about each step.

    Raises:
        WeightsError: The file is damaged, or holds something that this converter does not know.
    """
    on_progress("read the vocabulary", done=0, total=1)
    file = GgufFile(path)
    tokenizer = build_tokenizer(file)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    on_progress("read the vocabulary", done=1, total=1)
    tensors = file.tensors
    specs = list_tensor_specs(tensors)
    is_tied = all(spec.name != "lm_head.weight" for spec in specs)
    config = read_llama_config(file, is_tied=is_tied)
    pieces = iter_converted(tensors, config, on_progress=on_progress)
    write_safetensors(folder / WEIGHTS_FILE, specs, pieces=pieces)
    write_model_configs(folder, config, tokenizer_config=read_tokenizer_config(file))


def read_llama_config(file: GgufFile, *, is_tied: bool) -> LlamaConfig:
    """Return the architecture that a GGUF file describes.

    Args:
        file: The file.
        is_tied: The output projection is the input embedding: GGUF says so only by leaving the former out.

    Raises:
        WeightsError: It is not a Llama architecture, or a field is missing.
    """
    architecture = file.read_field("general.architecture", str)
    if architecture != "llama":
        message = f"the GGUF architecture {architecture} is not known here; convert this model with its own tools"
        raise WeightsError(message)
    hidden_size = file.read_field("llama.embedding_length", int)
    head_count = file.read_field("llama.attention.head_count", int)
    return LlamaConfig(
        vocab_size=file.read_field("llama.vocab_size", int),
        hidden_size=hidden_size,
        intermediate_size=file.read_field("llama.feed_forward_length", int),
        num_hidden_layers=file.read_field("llama.block_count", int),
        num_attention_heads=head_count,
        num_key_value_heads=file.read_field("llama.attention.head_count_kv", int),
        head_dim=hidden_size // head_count,
        max_position_embeddings=file.read_field("llama.context_length", int),
        rms_norm_eps=file.read_field("llama.attention.layer_norm_rms_epsilon", float),
        rope_parameters=RopeParameters(rope_theta=file.read_field("llama.rope.freq_base", float)),
        tie_word_embeddings=is_tied,
        bos_token_id=file.read_field("tokenizer.ggml.bos_token_id", int),
        eos_token_id=file.read_field("tokenizer.ggml.eos_token_id", int),
        pad_token_id=file.read_field("tokenizer.ggml.padding_token_id", int),
    )


def read_tokenizer_config(file: GgufFile) -> TokenizerConfig:
    """Return the roles of the tokens and the chat template of a GGUF file.

    Raises:
        WeightsError: A field is missing.
    """
    tokens = file.read_list("tokenizer.ggml.tokens", str)
    return TokenizerConfig(
        bos_token=tokens[file.read_field("tokenizer.ggml.bos_token_id", int)],
        eos_token=tokens[file.read_field("tokenizer.ggml.eos_token_id", int)],
        pad_token=tokens[file.read_field("tokenizer.ggml.padding_token_id", int)],
        unk_token=tokens[file.read_field("tokenizer.ggml.unknown_token_id", int)],
        model_max_length=file.read_field("llama.context_length", int),
        chat_template=file.read_field("tokenizer.chat_template", str),
    )

"""The conversion, on GGUF files that the `gguf` package's own writer makes."""

from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headrace.models.bfloat16 import from_bfloat16_bits, to_bfloat16_bits
from headrace.models.errors import WeightsError
from headrace.models.gguf_header import parse_gguf_header
from headrace.models.gguf_to_safetensors import convert_gguf
from headrace.models.gguf_weights import restore_head_order
from headrace.models.llama_folder import LlamaConfig, TokenizerConfig
from headrace.models.progress import ignore_progress
from tests.unit.models.safetensors_reading import read_tensors

HIDDEN = 64
HEADS = 2
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab", "1", "2", "\u0120", "\u0120a"]
MERGES = ["a b", "\u0120 a"]


def _write(
    path: Path, *, tensors: dict[str, NDArray[np.float32]], pre: str = "smollm", architecture: str = "llama"
) -> Path:
    writer: Any = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_feed_forward_length(96)
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_vocab_size(len(TOKENS))
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    for name, values in tensors.items():
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _draw(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).standard_normal(shape, np.float32)


def _as_stored(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    kind = gguf.GGMLQuantizationType.Q8_0
    return to_bfloat16_bits(gguf.dequantize(gguf.quantize(values, kind), kind))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tensors = {
        "token_embd.weight": _draw(len(TOKENS), HIDDEN),
        "output_norm.weight": _draw(HIDDEN),
        "blk.0.attn_q.weight": _draw(HIDDEN, HIDDEN),
        "blk.0.ffn_down.weight": _draw(HIDDEN, 96),
    }
    return _write(tmp_path / "m.gguf", tensors=tensors)


@pytest.fixture
def converted(source: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    convert_gguf(source, folder, on_progress=ignore_progress)
    return folder


def test_names_and_values_arrive(converted: Path) -> None:
    tensors = read_tensors(converted / "model.safetensors")

    assert list(tensors) == [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
    ]
    assert np.array_equal(tensors["model.embed_tokens.weight"], _as_stored(_draw(len(TOKENS), HIDDEN)))
    assert np.array_equal(tensors["model.norm.weight"], to_bfloat16_bits(_draw(HIDDEN)))
    assert np.array_equal(tensors["model.layers.0.mlp.down_proj.weight"], _as_stored(_draw(HIDDEN, 96)))


def test_the_query_rows_are_put_back_in_order(converted: Path) -> None:
    query = read_tensors(converted / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]

    stored = from_bfloat16_bits(_as_stored(_draw(HIDDEN, HIDDEN)))
    assert np.array_equal(from_bfloat16_bits(query), restore_head_order(stored, HEADS))
    assert not np.array_equal(from_bfloat16_bits(query), stored)


def test_rows_of_pairs_become_rows_of_halves() -> None:
    # Two heads of four rows. GGUF keeps (first half, second half) of each pair together.
    rows = np.array([[0], [2], [1], [3], [10], [12], [11], [13]], np.float32)

    assert restore_head_order(rows, 2).ravel().tolist() == [0, 1, 2, 3, 10, 11, 12, 13]


def test_the_config_says_what_the_file_said(converted: Path) -> None:
    config = msgspec.json.decode((converted / "config.json").read_bytes(), type=LlamaConfig)
    tokenizer_config = msgspec.json.decode((converted / "tokenizer_config.json").read_bytes(), type=TokenizerConfig)

    assert (config.hidden_size, config.head_dim, config.num_key_value_heads) == (HIDDEN, 32, 1)
    assert config.tie_word_embeddings
    assert (tokenizer_config.bos_token, tokenizer_config.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert tokenizer_config.chat_template == "{{ messages }}"


def test_the_tokenizer_splits_digits_and_knows_special_tokens(converted: Path) -> None:
    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))

    assert tokenizer.encode("ab 12<|im_end|>ab a").tokens == ["ab", "\u0120", "1", "2", "<|im_end|>", "ab", "\u0120a"]
    assert tokenizer.decode(tokenizer.encode("ab 12").ids) == "ab 12"


def test_progress_ends_at_its_total(source: Path, tmp_path: Path) -> None:
    reports: dict[str, tuple[int | None, int | None]] = {}

    def record(step: str, *, done: int | None, total: int | None) -> None:
        reports[step] = (done, total)

    convert_gguf(source, tmp_path, on_progress=record)

    assert list(reports) == ["read the vocabulary", "convert weights"]
    assert all(done == total for done, total in reports.values())


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.attn_qkv.weight"])
def test_a_tensor_that_has_no_place_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / "m.gguf", tensors={name: _draw(16)})

    with pytest.raises(WeightsError, match=f"{name} has no place"):
        convert_gguf(path, tmp_path, on_progress=ignore_progress)


def test_another_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "m.gguf", tensors={}, pre="llama-bpe")

    with pytest.raises(WeightsError, match="tokenizer gpt2/llama-bpe is not known"):
        convert_gguf(path, tmp_path, on_progress=ignore_progress)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "m.gguf", tensors={}, architecture="gemma3")

    with pytest.raises(WeightsError, match="architecture gemma3 is not known"):
        convert_gguf(path, tmp_path, on_progress=ignore_progress)


@pytest.mark.parametrize("length", [0, 3, 20, 200, 700])
def test_a_file_that_was_cut_short_is_an_error_at_any_length(source: Path, tmp_path: Path, length: int) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(source.read_bytes()[:length])

    with pytest.raises(WeightsError, match=r"not a GGUF file that can be read .* fetch it again"):
        convert_gguf(cut, tmp_path, on_progress=ignore_progress)


def test_tensor_data_that_was_cut_short_is_an_error(source: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(source.read_bytes()[:-100])

    with pytest.raises(WeightsError, match="not a GGUF file that can be read"):
        convert_gguf(cut, tmp_path, on_progress=ignore_progress)


def test_the_header_is_parsed_as_the_gguf_package_parses_it(source: Path) -> None:
    reader = gguf.GGUFReader(source)

    header = parse_gguf_header(memoryview(source.read_bytes()))

    theirs = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert header.fields == theirs
    assert [(info.name, info.offset_bytes) for info in header.tensors] == [
        (tensor.name, tensor.data_offset) for tensor in reader.tensors
    ]

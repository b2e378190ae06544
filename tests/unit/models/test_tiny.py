"""The tiny model: the same bytes each time, and a tokenizer that fits the weights."""

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from headrace.models.llama_folder import LlamaConfig
from headrace.models.manifest import compute_sha256
from headrace.models.tiny import TINY_MAX_TOKENS, write_tiny_model
from headrace.models.tiny_tokenizer import END_TOKEN, WORDS, build_tiny_tokenizer, list_vocabulary
from tests.unit.models.safetensors_reading import read_header

TOKENIZER = build_tiny_tokenizer()
# A change of these bytes changes every recorded answer of the tiny model: raise the recipe of TINY_ORIGIN with it.
WEIGHTS_SHA256 = "c708555fe018296123ab07d8c5479a13c310234c0dd57376a3501958daf0de51"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


def test_two_calls_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write_tiny_model(tmp_path / "again")

    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert [(folder / name).read_bytes() for name in names] == [(again / name).read_bytes() for name in names]


def test_the_weights_are_the_same_on_every_machine(folder: Path) -> None:
    assert compute_sha256(folder / "model.safetensors") == WEIGHTS_SHA256


def test_config_weights_and_tokenizer_agree(folder: Path) -> None:
    config = msgspec.json.decode((folder / "config.json").read_bytes(), type=LlamaConfig)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    header = read_header(folder / "model.safetensors")

    assert config.vocab_size == tokenizer.get_vocab_size() == len(list_vocabulary())
    assert header["lm_head.weight"].shape == (config.vocab_size, config.hidden_size)
    assert tokenizer.token_to_id(END_TOKEN) == config.eos_token_id
    assert config.max_position_embeddings == TINY_MAX_TOKENS
    assert sum(math.prod(entry.shape) for entry in header.values()) * 2 < 1_000_000


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


def test_each_word_after_a_space_is_one_token() -> None:
    assert len(set(list_vocabulary())) == len(list_vocabulary())
    assert all(len(TOKENIZER.encode(f" {word}").ids) == 1 for word in WORDS)

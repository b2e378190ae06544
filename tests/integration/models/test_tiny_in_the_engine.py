"""The tiny model in the libraries that load it for real: it prints words, and goes on to its limit."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headrace.models import TINY_MAX_TOKENS, write_tiny_model
from headrace.models.tiny_tokenizer import WORDS

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]

MESSAGES = [{"role": "user", "content": "Where does the water run?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def generate(folder: Path) -> Any:
    transformers: Any = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, return_tensors="pt", return_dict=True)

    def generate_tokens(**options: Any) -> list[str]:
        output = model.generate(**prompt, max_new_tokens=100, **options)[0, prompt["input_ids"].shape[1] :]
        return [tokenizer.decode(token) for token in output]

    return generate_tokens


def test_a_greedy_answer_is_words_that_do_not_repeat(generate: Any) -> None:
    tokens = generate(do_sample=False)

    assert len(tokens) == 100
    assert all(left != right for left, right in pairwise(tokens))
    assert len(set(zip(tokens, tokens[1:], tokens[2:], strict=False))) > 80


def test_a_sampled_answer_is_printable_and_runs_to_its_limit(generate: Any) -> None:
    tokens = generate(do_sample=True, top_k=0)

    assert len(tokens) == 100
    assert "".join(tokens).isascii()
    assert "".join(tokens).isprintable()
    assert sum(token.strip() in WORDS for token in tokens) > 50


def test_vllm_knows_the_architecture_and_the_length(folder: Path) -> None:
    vllm_config: Any = pytest.importorskip("vllm.config")
    vllm_tokenizers: Any = pytest.importorskip("vllm.tokenizers")

    config = vllm_config.ModelConfig(str(folder))
    tokenizer = vllm_tokenizers.get_tokenizer(str(folder))

    assert config.architecture == "LlamaForCausalLM"
    assert config.max_model_len == TINY_MAX_TOKENS
    assert config.get_vocab_size() == len(tokenizer)

"""Our conversion of the demo model, against the one that transformers makes of the same file."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tokenizers import Tokenizer

from headrace.models.gguf_tokenizer import build_smollm_pre_tokenizer

# transformers and torch warn about matters of their own while they are imported.
pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.filterwarnings("default"), pytest.mark.timeout(180)]

TEXTS_WITHOUT_DIGITS = [
    "",
    " ",
    "Hello, world!",
    "  two  spaces\t\ttabs\n\nlines \r\n end   ",
    "It's they'll I'VE don't",
    "naïve café, Ünïcödé, ẞ, ﬁ, é",
    "日本語のテキスト。한국어 العربية עברית हिन्दी",
    "😀😃 👩‍👩‍👧‍👦 🇨🇭 🏳️‍🌈",
    "def f(x: int) -> str:\n    return f'{x!r}'  # why\n\n\nclass A: ...\n",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><repo_name>x",
    "<|im_start |> <|im_end|",
    "a\u00a0b\u2003c\u200bd\u3000e",
    "https://example.org/a?b=c&d=%20#e {}[]()<>|\\/`~^",
    "\x00\x01\x7f\ufffd",
]
TEXTS_WITH_DIGITS = [
    "12345",
    "a1b22c333",
    "  12  3",
    "x = 3.14e-10;",
    "2024-01-01T00:00:00Z",
    "\uff11\uff12\uff13 \u0664\u0665 \u00b2\u00b3 \u2167 \u00bd",
    "v1.2.3 ",
]


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def our_tokenizer(transformers: Any, converted: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(converted)


@pytest.fixture(scope="module")
def their_tokenizer(transformers: Any, demo_gguf: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(demo_gguf.parent, gguf_file=demo_gguf.name)


@pytest.fixture(scope="module")
def their_split_tokenizer(their_tokenizer: Any) -> Tokenizer:
    # transformers ignores the name of the pre-tokenizer in a GGUF file, so this copy of theirs gets the right one.
    tokenizer = Tokenizer.from_str(their_tokenizer.backend_tokenizer.to_str())
    tokenizer.pre_tokenizer = build_smollm_pre_tokenizer()
    return tokenizer


def test_every_weight_is_the_same_to_the_bit(transformers: Any, converted: Path, demo_gguf: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    gguf_loading: Any = pytest.importorskip("transformers.modeling_gguf_pytorch_utils")
    safetensors: Any = pytest.importorskip("safetensors.torch")
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(converted))
    loaded = gguf_loading.load_gguf_checkpoint(str(demo_gguf), True, model, torch.bfloat16)
    theirs, ours = loaded["tensors"], safetensors.load_file(converted / "model.safetensors")

    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name].view(torch.int16), theirs[name].view(torch.int16))]
    assert different == []


def test_the_config_means_the_same(transformers: Any, converted: Path, demo_gguf: Path) -> None:
    ours = transformers.AutoConfig.from_pretrained(converted).to_dict()
    theirs = transformers.AutoConfig.from_pretrained(demo_gguf.parent, gguf_file=demo_gguf.name).to_dict()

    # Where it came from, and what is not written into a GGUF file.
    told_apart = {
        "_name_or_path",
        "_model_name_or_path",
        "architectures",
        "dtype",
        "transformers_version",
        "unk_token_id",
    }
    names = (ours.keys() | theirs.keys()) - told_apart
    assert {name: ours.get(name) for name in names} == {name: theirs.get(name) for name in names}


@pytest.mark.parametrize("text", TEXTS_WITHOUT_DIGITS)
def test_text_becomes_the_same_tokens(our_tokenizer: Any, their_tokenizer: Any, text: str) -> None:
    assert our_tokenizer.encode(text) == their_tokenizer.encode(text)
    assert our_tokenizer.decode(our_tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", [*TEXTS_WITHOUT_DIGITS, *TEXTS_WITH_DIGITS])
def test_digits_split_as_the_model_was_trained(our_tokenizer: Any, their_split_tokenizer: Tokenizer, text: str) -> None:
    assert our_tokenizer.encode(text) == their_split_tokenizer.encode(text).ids
    assert our_tokenizer.decode(our_tokenizer.encode(text)) == text


def test_the_chat_template_renders_the_same(our_tokenizer: Any, their_tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]

    ours, theirs = (
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for tokenizer in (our_tokenizer, their_tokenizer)
    )

    assert ours == theirs
    assert ours.endswith("Yes?<|im_end|>\n<|im_start|>assistant\n")
    assert our_tokenizer.eos_token == "<|im_end|>"


def test_the_whole_model_answers(transformers: Any, converted: Path, our_tokenizer: Any) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(converted)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = our_tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )

    output = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].shape[1] :]

    assert our_tokenizer.decode(output, skip_special_tokens=True) == "The capital of France is Paris."
    assert msgspec.json.decode((converted / "generation_config.json").read_bytes())["eos_token_id"] == int(output[-1])

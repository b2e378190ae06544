"""The tokenizer inside a GGUF file, rebuilt for the `tokenizers` package.

GGUF holds the vocabulary and the merges, but of the pre-tokenizer only its name: the rules behind the name are
written here. We know `smollm`, and refuse the others: a wrong split is a model that is a little worse, which nobody
notices.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence

from headrace.models.errors import WeightsError
from headrace.models.gguf_file import GgufFile

_NORMAL_TOKEN = 1
_CONTROL_TOKEN = 3


def build_tokenizer(file: GgufFile) -> Tokenizer:
    """Rebuild the tokenizer of a GGUF file.

    Raises:
        WeightsError: It is of a kind that we do not know.
    """
    model = file.read_field("tokenizer.ggml.model", str)
    pre_tokenizer = file.read_field("tokenizer.ggml.pre", str)
    if (model, pre_tokenizer) != ("gpt2", "smollm"):
        message = f"the GGUF tokenizer {model}/{pre_tokenizer} is not known here; convert this model with its own tools"
        raise WeightsError(message)
    tokens = file.read_list("tokenizer.ggml.tokens", str)
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    merges = [_split_merge(merge) for merge in file.read_list("tokenizer.ggml.merges", str)]
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = build_smollm_pre_tokenizer()
    tokenizer.decoder = ByteLevelDecoder()
    kinds = file.read_list("tokenizer.ggml.token_type", int)
    if not {_NORMAL_TOKEN, _CONTROL_TOKEN}.issuperset(kinds):
        message = "the GGUF tokenizer has tokens of its user's own; convert this model with its own tools"
        raise WeightsError(message)
    special = [_to_added_token(token) for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens(special)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def build_smollm_pre_tokenizer() -> PreTokenizer:
    """Return the split that SmolLM was trained with: each digit alone, then GPT-2's words over bytes."""
    return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])


def _to_added_token(token: str) -> AddedToken:
    return AddedToken(token, special=True, normalized=False)


def _split_merge(merge: str) -> tuple[str, str]:
    # Neither half holds a space: the byte-level alphabet writes it as another character.
    left, _, right = merge.partition(" ")
    return left, right

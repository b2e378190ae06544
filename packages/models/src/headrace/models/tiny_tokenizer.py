"""A tokenizer of some hundred tokens: every byte, and a few words, so that random weights still print words.

Any text can be encoded, as bytes if need be. A word becomes one token only after a space, as in larger tokenizers.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

PAD_TOKEN = "<|pad|>"  # noqa: S105 - a token of a vocabulary, not a secret
START_TOKEN = "<|start|>"  # noqa: S105
END_TOKEN = "<|end|>"  # noqa: S105
SPECIAL_TOKENS = (PAD_TOKEN, START_TOKEN, END_TOKEN)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)

SPACE = "\u0120"  # what the byte-level alphabet writes for a space

_PROSE = (
    "the a and of to in on over under from into through is was runs turns falls flows drives carries fills lifts "
    "water river stream lake rain sea wind stone wheel gate mill channel tunnel turbine power light current "
    "valley hill bridge bank slow fast deep clear cold bright steady still long early late north south day night "
    "never always"
)
WORDS = tuple(_PROSE.split())


def list_merges() -> list[tuple[str, str]]:
    """Return the merges that build each word from left to right, prefixes shared, in a fixed order."""
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        prefix = SPACE
        for letter in word:
            merges[prefix, letter] = None
            prefix += letter
    return list(merges)


def list_vocabulary() -> list[str]:
    """Return every token, in the order of the ids: special ones, bytes, then what the merges make."""
    merged = [left + right for left, right in list_merges()]
    return [*SPECIAL_TOKENS, *sorted(ByteLevel.alphabet()), *merged]


def build_tiny_tokenizer() -> Tokenizer:
    """Build the tokenizer; it depends on nothing but this module."""
    vocabulary = {token: token_id for token_id, token in enumerate(list_vocabulary())}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=list_merges()))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = ByteLevelDecoder()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    tokenizer.add_special_tokens(special)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer

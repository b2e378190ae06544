"""Made-up tokens: a word is a token, and the same word has the same id and the same probability wherever it is said."""

import re
from functools import lru_cache
from zlib import crc32

from headrace.schema.events import TokenLogprob

WORDS = (
    " water", " over", " the", " wheel", " turns", " slow", " or", " fast,", " a", " stream", " finds", " its", " way",
    " through", " stone", " and", " gate;", " light", " falls", " on", " moss,", " then", " all", " is", " still.",
    " Rain", " again", " fills", " every", " channel", " below.",
)  # fmt: skip
_TOKEN = re.compile(r"\s*\S+|\s+")
_PROMPT_TOKEN = re.compile(r"\s*\S+(?:\s+\Z)?")
_JSON_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
_TOKEN_IDS = 50_000


@lru_cache(maxsize=256)
def split_tokens(text: str) -> tuple[str, ...]:
    """Split a text into words, each with the white space before it; joined they are the text."""
    return tuple(_TOKEN.findall(text))


@lru_cache(maxsize=256)
def split_json(text: str) -> tuple[str, ...]:
    """Split JSON, or another text of a form, into words and signs; joined they are the text."""
    return tuple(_JSON_TOKEN.findall(text))


def split_prompt(text: str) -> tuple[str, ...]:
    """Split a prompt into as many tokens as it has words; white space at its end belongs to the last."""
    return tuple(_PROMPT_TOKEN.findall(text))


@lru_cache(maxsize=256)
def generate_tokens(count: int, start: int) -> tuple[str, ...]:
    """Return this many words out of a fixed circle of them, from `start` on."""
    return tuple(WORDS[(start + i) % len(WORDS)] for i in range(count))


def make_token_id(text: str) -> int:
    """Return the made-up id of a token."""
    return crc32(text.encode()) % _TOKEN_IDS


def spell_token(token_id: int) -> str:
    """Return the text of a token of which a client gave only the id."""
    return WORDS[token_id % len(WORDS)]


@lru_cache(maxsize=4096)
def make_logprob(text: str, top: int) -> TokenLogprob:
    """Return the made-up log probability of a token, which is always the likeliest of its place.

    Args:
        text: the token.
        top: how many of the likeliest to show with it.
    """
    first = _logprob_alone(text, -0.01 - make_token_id(text) % 400 / 1000)
    others = [word for word in generate_tokens(top, make_token_id(text) % len(WORDS)) if word != text]
    rest = [_logprob_alone(word, first.logprob - 1.0 - i) for i, word in enumerate(others)]
    return TokenLogprob(first.token_id, text, first.logprob, first.raw, (first, *rest)[:top])


def _logprob_alone(text: str, logprob: float) -> TokenLogprob:
    return TokenLogprob(make_token_id(text), text, logprob, text.encode())

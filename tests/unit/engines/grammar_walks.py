"""What a grammar allows, found out by walking through it with xgrammar and a tokenizer of some hundred tokens."""

import random
from functools import cache
from typing import Any

import pytest

from headrace.models.tiny_tokenizer import END_TOKEN, build_tiny_tokenizer, list_vocabulary

CLOSERS = frozenset('"}],:')


@cache
def _compiler() -> Any:
    xgr: Any = pytest.importorskip("xgrammar")
    vocabulary = [token.replace("\u0120", " ") if token in CLOSERS else token for token in list_vocabulary()]
    information = xgr.TokenizerInfo(
        vocabulary,
        vocab_type=xgr.VocabType.BYTE_LEVEL,
        vocab_size=len(vocabulary),
        stop_token_ids=[vocabulary.index(END_TOKEN)],
    )
    return xgr.GrammarCompiler(information, max_threads=1, cache_enabled=False)


def accepts(grammar: str, text: str) -> bool:
    """Tell whether a grammar accepts exactly this text."""
    xgr: Any = pytest.importorskip("xgrammar")
    matcher = xgr.GrammarMatcher(_compiler().compile_grammar(grammar), terminate_without_stop_token=True)
    return bool(matcher.accept_string(text)) and bool(matcher.is_terminated())


def walk(grammar: str, *, seed: int, tokens: int = 500) -> str | None:
    """Return a text that a grammar allows, at random but soon at its end; None where it did not end."""
    xgr: Any = pytest.importorskip("xgrammar")
    torch: Any = pytest.importorskip("torch")
    compiler = _compiler()
    tokenizer, vocabulary = build_tiny_tokenizer(), list_vocabulary()
    matcher = xgr.GrammarMatcher(compiler.compile_grammar(grammar))
    mask = xgr.allocate_token_bitmask(1, len(vocabulary))
    chance, chosen = random.Random(seed), list[int]()  # noqa: S311 - no secret
    for _ in range(tokens):
        matcher.fill_next_token_bitmask(mask)
        bits = (mask[0].unsqueeze(1) >> torch.arange(32)).bitwise_and(1).flatten()[: len(vocabulary)]
        allowed: list[int] = bits.nonzero().flatten().tolist()
        assert allowed, f"nothing may follow {tokenizer.decode(chosen)!r}"
        closing = [token for token in allowed if vocabulary[token] in CLOSERS or vocabulary[token] == END_TOKEN]
        token = chance.choice(closing if closing and chance.random() < 0.5 else allowed)
        assert matcher.accept_token(token)
        if matcher.is_terminated():
            return tokenizer.decode(chosen)
        chosen.append(token)
    return None

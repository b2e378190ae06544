# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The trial itself: compile the grammar, and follow it for some tokens at random."""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.worker.engines.vllm.grammar.constraint import Constraint

WALKS = 3
WALK_TOKENS = 60
SLOWEST_TOKEN_SECONDS = 0.25
WALKS_SECONDS = 3.0

# Given a constraint, returns its grammar compiled, or raises what xgrammar raises.
Compile = Callable[[Constraint], Any]


def make_compile(tokenizer: Any, vocabulary_size: int) -> Compile:
    """Return what compiles a constraint for a model's vocabulary, as vLLM does."""
    import xgrammar as xgr

    information = xgr.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary_size)

    def compile_constraint(constraint: Constraint) -> Any:
        # Made here: its threads would be lost in a fork.
        compiler = xgr.GrammarCompiler(information, max_threads=2, cache_enabled=False)
        if constraint.kind == "structural_tag":
            return compiler.compile_structural_tag(constraint.text)
        return compiler.compile_grammar(constraint.text)

    return compile_constraint


def try_constraint(constraint: Constraint, compile_constraint: Compile) -> str:
    """Return why a constraint can't be used, or nothing."""
    try:
        compiled = compile_constraint(constraint)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is refused
        return _shorten(str(error))
    began_at = time.process_time()
    for seed in range(WALKS):
        if reason := _walk(compiled, random.Random(seed), until=began_at + WALKS_SECONDS):  # noqa: S311 - no secret
            return reason
    return ""


def _walk(compiled: Any, chance: random.Random, *, until: float) -> str:
    import xgrammar as xgr

    matcher = xgr.GrammarMatcher(compiled)
    mask = xgr.allocate_token_bitmask(1, compiled.tokenizer_info.vocab_size)
    for _ in range(WALK_TOKENS):
        began_at = time.process_time()
        matcher.fill_next_token_bitmask(mask)
        took = time.process_time() - began_at
        bits = np.unpackbits(mask.numpy().view(np.uint8), bitorder="little")
        allowed = np.flatnonzero(bits[: compiled.tokenizer_info.vocab_size])
        if allowed.size == 0:
            return "it comes to a place where nothing may follow"
        if took > SLOWEST_TOKEN_SECONDS or time.process_time() > until:
            return "it can be read in so many ways that every token would take too long"
        # The end is taken only where there is no other way: slow is what is long.
        going_on = allowed[~np.isin(allowed, compiled.tokenizer_info.stop_token_ids)]
        choices = going_on if going_on.size else allowed
        matcher.accept_token(int(choices[chance.randrange(choices.size)]))
        if matcher.is_terminated():
            break
    return ""


def _shorten(reason: str) -> str:
    # xgrammar begins with a time and a place in its own source.
    first = reason.strip().splitlines()[0] if reason.strip() else "it can't be compiled"
    return first.split(": ", 1)[-1][:200]

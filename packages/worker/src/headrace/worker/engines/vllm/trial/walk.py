# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The trial itself: compile the grammar, and follow it for some tokens at random."""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.worker.engines.vllm.grammar.constraint import Constraint

WALKS = 2
WALK_TOKENS = 240
SLOWEST_TOKEN_SECONDS = 0.25
WALKS_SECONDS = 3.0
# A token may take this long at the end of a walk, or else no more than so many times as long as at its beginning.
LATE_TOKEN_SECONDS = 0.005
LATE_FACTOR = 4
_AMBIGUOUS = "it can be read in so many ways that every token would take too long"

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

    size = compiled.tokenizer_info.vocab_size
    stops = compiled.tokenizer_info.stop_token_ids
    matcher = xgr.GrammarMatcher(compiled)
    mask = xgr.allocate_token_bitmask(1, size)
    took: list[float] = []
    for _ in range(WALK_TOKENS):
        began_at = time.process_time()
        matcher.fill_next_token_bitmask(mask)
        seconds = time.process_time() - began_at
        allowed = np.flatnonzero(np.unpackbits(mask.numpy().view(np.uint8), bitorder="little")[:size])
        if allowed.size == 0:
            return "it comes to a place where nothing may follow"
        # The end is taken only where there is no other way: slow is what is long.
        going_on = allowed[~np.isin(allowed, stops)]
        choices = going_on if going_on.size else allowed
        began_at = time.process_time()
        matcher.accept_token(int(choices[chance.randrange(choices.size)]))
        took.append(seconds + time.process_time() - began_at)
        if took[-1] > SLOWEST_TOKEN_SECONDS or time.process_time() > until:
            return _AMBIGUOUS
        if matcher.is_terminated():
            break
    return _AMBIGUOUS if _gets_slower(took) else ""


def _gets_slower(took: list[float]) -> bool:
    quarter = len(took) // 4
    if not quarter:
        return False
    # The median: a single token may be slow because the machine is.
    early, late = sorted(took[:quarter])[quarter // 2], sorted(took[-quarter:])[quarter // 2]
    return late > LATE_TOKEN_SECONDS and late > LATE_FACTOR * early


def _shorten(reason: str) -> str:
    # xgrammar begins with a time and a place in its own source.
    first = reason.strip().splitlines()[0] if reason.strip() else "it can't be compiled"
    return first.split(": ", 1)[-1][:200]

"""A state of the constraint for every live beam, and the mask that follows from it.

A state is forked for each beam that a beam is expanded into, so that a step costs the same however long the beams are.
"""

from collections.abc import Collection, Sequence
from typing import Protocol, Self

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.vllm.beam.masks import Mask, without
from headrace.worker.engines.vllm.beam.search import Beam


class GrammarState(Protocol):
    """Where one beam stands in a grammar."""

    def fork(self) -> Self:
        """Return a copy that goes its own way."""
        ...

    def accept(self, token_id: int) -> bool:
        """Go on by a token; False if the grammar does not allow it."""
        ...

    def next_mask(self) -> Mask:
        """Return which tokens may come next; the end tokens only where the text may end."""
        ...


class Constraint:
    """What restricts the next token of each live beam: a grammar, a list of tokens, or both.

    Args:
        grammar: where every beam begins; None for no grammar.
        allowed: the only tokens there may be; None for all.
        stopping_token_ids: tokens that end an answer.
        min_tokens: before these none of them may come, unless the grammar allows nothing else.
    """

    def __init__(
        self,
        grammar: GrammarState | None,
        allowed: Mask | None,
        *,
        stopping_token_ids: Collection[int],
        min_tokens: int,
    ) -> None:
        self._states = [] if grammar is None else [grammar]
        self._allowed = allowed
        self._stopping = stopping_token_ids
        self._min_tokens = min_tokens

    @property
    def has_grammar(self) -> bool:
        """Whether masks take time to make."""
        return bool(self._states)

    def masks(self) -> list[Mask | None]:
        """Return the mask of the empty beam that a search begins with."""
        return [self._restrict(state.next_mask(), length=0) for state in self._states] or [self._allowed]

    def follow(self, live: Sequence[Beam]) -> list[Mask | None]:
        """Go on to the beams of the next step, and return their masks. May take milliseconds: call it in a thread.

        Raises:
            HeadraceError: `engine_error`: a token came that the grammar does not allow.
        """
        if not self._states:
            return [self._allowed] * len(live)
        states = [self._states[beam.parent].fork() for beam in live]
        for state, beam in zip(states, live, strict=True):
            if not state.accept(beam.token_ids[-1]):
                raise HeadraceError(ErrorCode.ENGINE_ERROR, "the engine gave a token that the grammar forbids")
        self._states = states
        return [
            self._restrict(state.next_mask(), length=len(beam.token_ids))
            for state, beam in zip(states, live, strict=True)
        ]

    def _restrict(self, mask: Mask, *, length: int) -> Mask:
        if self._allowed is not None:
            both = mask & self._allowed
            mask = both if both.any() else mask
        return without(mask, self._stopping) if length < self._min_tokens else mask

"""A model of a few tokens whose every answer can be listed, for tests of the search."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence

from headrace.worker.engines.vllm.beam.search import Beam, BeamRules, Ending, Expansion, SearchState, advance

Tokens = tuple[int, ...]


class ToyModel:
    """Random log probabilities for each prefix; token 0 ends an answer.

    Args:
        seed: two models with the same seed are the same.
        size: tokens that it knows.
        allowed: which tokens may follow a prefix; the others have no probability, and the rest is renormalised.
    """

    def __init__(self, seed: int, size: int, allowed: Callable[[Tokens], Sequence[int]] | None = None) -> None:
        self._seed = seed
        self.size = size
        self._allowed = allowed or self._all

    def _all(self, _: Tokens) -> Sequence[int]:
        return range(self.size)

    def expand(self, tokens: Tokens) -> Expansion:
        chance = random.Random(repr((self._seed, tokens)))  # noqa: S311 - it must be the same each time
        weights = {token: math.exp(chance.uniform(-3, 3)) for token in range(self.size)}
        kept = {token: weights[token] for token in self._allowed(tokens)}
        ranked = sorted(kept.items(), key=lambda item: -item[1])
        total = sum(kept.values())
        return Expansion(tuple(t for t, _ in ranked), tuple(math.log(w / total) for _, w in ranked))

    def logprob(self, tokens: Tokens) -> float:
        """The log probability of an answer, from its first token on."""
        total = 0.0
        for place, token in enumerate(tokens):
            expansion = self.expand(tokens[:place])
            total += expansion.logprobs[expansion.token_ids.index(token)]
        return total

    def answers(self, max_tokens: int) -> Iterator[Tokens]:
        """Every answer there is."""
        for length in range(1, max_tokens + 1):
            for tokens in itertools.product(range(self.size), repeat=length):
                ends = tokens[-1] == 0 or length == max_tokens
                if ends and 0 not in tokens[:-1] and all(t in self._allowed(tokens[:i]) for i, t in enumerate(tokens)):
                    yield tokens

    def rank_all(self, rules: BeamRules) -> list[tuple[float, Tokens]]:
        """Every answer with its score, the best first."""
        found = [(rules.score(self.logprob(t), len(t)), t) for t in self.answers(rules.max_tokens)]
        cut_last = [(rules.prefers_whole and t[-1] != 0, -score, score, t) for score, t in found]
        return [(score, t) for _, _, score, t in sorted(cut_last)]


def end_of(rules: BeamRules) -> Callable[[Beam], Ending | None]:
    def find(beam: Beam) -> Ending | None:
        if beam.token_ids[-1] == 0:
            return Ending("stop")
        return Ending("length") if len(beam.token_ids) == rules.max_tokens else None

    return find


def search(model: ToyModel, rules: BeamRules) -> list[SearchState]:
    """Run a search to its end and return every state."""
    states = [SearchState()]
    while not states[-1].is_over:
        live = states[-1].live
        expansions = [model.expand(beam.token_ids) for beam in live]
        states.append(advance(states[-1], expansions, rules, end_of=end_of(rules)))
    return states

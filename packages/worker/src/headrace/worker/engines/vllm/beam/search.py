"""The search itself: which beams live, which are finished, and when nothing better can come.

A step expands every live beam by the likeliest next tokens and ranks all of that by total log probability. A candidate
that ends is finished if it is among the first `width`; the first `width` that do not end live on. The finished are
ranked by score, the total divided by length to the power of the length penalty, where the length counts the token that
ended it. These are the rules of transformers' `generate`, and one more that changes no answer: the search is over as
soon as no live beam can come among those that are returned. No engine and no clock here.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Literal

from msgspec import Struct


class Ending(Struct, frozen=True):
    """Why a hypothesis ended.

    Attributes:
        reason: `length` was cut by a limit, `stop` ended by itself.
        stop: the stop text or token that did it.
    """

    reason: Literal["stop", "length"]
    stop: str | int | None = None


class Expansion(Struct, frozen=True):
    """What may follow a beam: tokens and their log probabilities, the likeliest first."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class Beam(Struct, frozen=True):
    """Tokens of a possible answer.

    Attributes:
        token_ids: the tokens.
        total: sum of their log probabilities.
        places: of each token, what it was chosen from; empty where nobody asks for it.
        parent: which live beam of the step before it comes from.
    """

    token_ids: tuple[int, ...] = ()
    total: float = 0.0
    places: tuple[Expansion, ...] = ()
    parent: int = 0


class Hypothesis(Struct, frozen=True):
    """A finished beam."""

    beam: Beam
    score: float
    ending: Ending


class BeamRules(Struct, frozen=True, kw_only=True):
    """What holds for the whole search.

    Attributes:
        width: beams that live at once, and finished ones that are kept.
        count: how many of the finished will be returned.
        max_tokens: longest answer.
        length_penalty: power of the length that totals are divided by.
        early_stopping: see `BeamSearchParams`.
        prefers_whole: an answer that ended by itself ranks before every one that was cut.
        keeps_places: beams remember what their tokens were chosen from.
    """

    width: int
    count: int
    max_tokens: int
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    prefers_whole: bool = False
    keeps_places: bool = False

    def score(self, total: float, length: int) -> float:
        """Return the score of an answer."""
        return total / length**self.length_penalty


class SearchState(Struct, frozen=True):
    """Where a search stands.

    Attributes:
        live: beams that go on, the likeliest first.
        finished: the best finished ones, the best first.
        is_over: nothing more will be searched.
    """

    live: tuple[Beam, ...] = (Beam(),)
    finished: tuple[Hypothesis, ...] = ()
    is_over: bool = False


def advance(
    state: SearchState,
    expansions: Sequence[Expansion],
    rules: BeamRules,
    *,
    end_of: Callable[[Beam], Ending | None],
) -> SearchState:
    """Take one step.

    Args:
        state: where the search stands.
        expansions: what may follow each live beam; the first `width` of those that do not end are enough.
        rules: of the search.
        end_of: whether a beam ends with its last token.
    """
    live: list[Beam] = []
    ended: list[Hypothesis] = []
    for rank, beam in enumerate(_rank_candidates(state.live, expansions, keeps_places=rules.keeps_places)):
        if len(live) == rules.width:
            break
        if (ending := end_of(beam)) is None:
            live.append(beam)
        elif rank < rules.width:
            ended.append(Hypothesis(beam, rules.score(beam.total, len(beam.token_ids)), ending))
    finished = _keep_best([*state.finished, *ended], rules)
    return SearchState(tuple(live), finished, _is_over(live, finished, rules))


def _rank_candidates(live: Sequence[Beam], expansions: Sequence[Expansion], *, keeps_places: bool) -> Iterable[Beam]:
    candidates = [
        (beam.total + logprob, index, token_id)
        for index, (beam, expansion) in enumerate(zip(live, expansions, strict=True))
        for token_id, logprob in zip(expansion.token_ids, expansion.logprobs, strict=True)
    ]
    # Equal totals keep the order of their beams and of the engine's tokens.
    candidates.sort(key=lambda candidate: -candidate[0])
    for total, index, token_id in candidates:
        beam = live[index]
        places = (*beam.places, expansions[index]) if keeps_places else ()
        yield Beam((*beam.token_ids, token_id), total, places, index)


def _keep_best(hypotheses: list[Hypothesis], rules: BeamRules) -> tuple[Hypothesis, ...]:
    def rank(hypothesis: Hypothesis) -> tuple[bool, float]:
        return rules.prefers_whole and hypothesis.ending.reason == "length", -hypothesis.score

    return tuple(sorted(hypotheses, key=rank)[: rules.width])


def _is_over(live: Sequence[Beam], finished: Sequence[Hypothesis], rules: BeamRules) -> bool:
    if not live:
        return True
    if len(finished) >= rules.count and _best_score(live[0], rules, bound=True) <= finished[rules.count - 1].score:
        return True
    if len(finished) < rules.width:
        return False
    if rules.early_stopping is True:
        return True
    bound = rules.early_stopping == "never"
    return _best_score(live[0], rules, bound=bound) <= min(hypothesis.score for hypothesis in finished)


def _best_score(beam: Beam, rules: BeamRules, *, bound: bool) -> float:
    """Return the score that a live beam has so far, or the best that it can still come to."""
    is_better_longer = bound and rules.length_penalty > 0
    return rules.score(beam.total, rules.max_tokens if is_better_longer else len(beam.token_ids))


def list_returnable(state: SearchState, rules: BeamRules) -> list[Beam]:
    """Return the beams that may still be, or become, one of the answers; once the search is over, the answers."""
    best = state.finished[: rules.count]
    beams = [hypothesis.beam for hypothesis in best]
    if state.is_over:
        return beams
    if len(best) < rules.count:
        return [*beams, *state.live]
    worst = best[-1].score
    return [*beams, *(beam for beam in state.live if _best_score(beam, rules, bound=True) > worst)]


def count_certain(state: SearchState, rules: BeamRules) -> int:
    """Return how many answers there will be at least. It never falls, as every live beam can go on or end."""
    return min(rules.count, len(state.finished) + (0 if state.is_over else len(state.live)))


def extend_common_prefix(beams: Sequence[Beam], length: int) -> int:
    """Return how many tokens all beams begin with, given that they share the first `length`."""
    first = beams[0].token_ids
    shortest = min(len(beam.token_ids) for beam in beams)
    rest = takewhile(
        lambda place: all(beam.token_ids[place] == first[place] for beam in beams), range(length, shortest)
    )
    return length + sum(1 for _ in rest)

"""Which targets a request may go to, and in which order: a function of the route, the request and chance."""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from headrace.gateway.routing.table import Leg, Route, Target, targets_of
from headrace.schema.errors import ErrorCode, HeadraceError

Random = Callable[[], float]
"""Returns a number from 0 up to, and without, 1."""


class Step(Struct, frozen=True):
    """A target in its place.

    Attributes:
        target: whom to ask.
        for_long_context: it may be asked where one before it said that the request is too long.
    """

    target: Target
    for_long_context: bool = False


def plan_steps(route: Route, *, local_only: bool, embeds: bool, random: Random) -> tuple[Step, ...]:
    """Return the targets of a request in the order in which they are to be asked, each once.

    What the request may not reach, or what can't do what it asks, is taken out before anything is chosen.

    Args:
        route: where it goes.
        local_only: whether it must not leave for an outside provider.
        embeds: whether it asks for embeddings.
        random: decides among weights.

    Raises:
        HeadraceError: nothing is left: `forbidden` by its privacy, or `invalid_request` by what it asks.
    """
    allowed = [target for target in targets_of(route) if target.is_local or not local_only]
    if not allowed:
        message = f"the request must not leave for an outside provider, and nobody else answers to '{route.name}'"
        raise HeadraceError(ErrorCode.FORBIDDEN, message, param="model")
    able = frozenset(target for target in allowed if target.embeds in (None, embeds))
    if not able:
        makes = "answers, and makes no embeddings" if embeds else "makes embeddings, and does not answer"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, f"the model '{route.name}' {makes}", param="model")
    steps: dict[Target, Step] = {}
    for step in _walk(route, able, random, is_long=False):
        steps.setdefault(step.target, step)
    if not steps:
        message = f"nobody who may answer this request has a share of '{route.name}'"
        raise HeadraceError(ErrorCode.FORBIDDEN if local_only else ErrorCode.MODEL_NOT_FOUND, message, param="model")
    return tuple(steps.values())


def _walk(route: Route, able: frozenset[Target], random: Random, *, is_long: bool) -> Iterator[Step]:
    legs = [leg for leg in route.targets if leg.weight > 0 and _leads_to(leg, able)]
    for leg in (*_shuffle(legs, random), *route.fallbacks):
        long = is_long or leg.for_long_context
        if isinstance(leg.end, Route):
            yield from _walk(leg.end, able, random, is_long=long)
        elif leg.end in able:
            yield Step(leg.end, long)


def _leads_to(leg: Leg, able: frozenset[Target]) -> bool:
    if isinstance(leg.end, Route):
        return not able.isdisjoint(targets_of(leg.end))
    return leg.end in able


def _shuffle(legs: Sequence[Leg], random: Random) -> Iterator[Leg]:
    """Draw one after the other, by weight, until none is left."""
    left = list(legs)
    while len(left) > 1:
        place = random() * sum(leg.weight for leg in left)
        chosen = len(left) - 1
        for i, leg in enumerate(left):
            place -= leg.weight
            if place < 0:
                chosen = i
                break
        yield left.pop(chosen)
    yield from left

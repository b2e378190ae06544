"""Going on with what another engine of the same script has told in part.

A script without a seed says something else to every job, so the turn that an answer was of is found again by what it
told.
"""

from collections.abc import Callable, Sequence

from headrace.schema.control import ToldSequence
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.scripted.plan import SequencePlan
from headrace.worker.engines.scripted.tokens import WORDS

MOST_TURNS = len(WORDS)


def find_told_plans(
    plan: Callable[[int], Sequence[SequencePlan]], told: Sequence[ToldSequence], *, turn: int
) -> Sequence[SequencePlan]:
    """Return the plans of the first turn, from `turn` on, that begin with what was told.

    Raises:
        HeadraceError: `worker_lost`: this script says nothing that begins so.
    """
    if not told:
        return plan(turn)
    for candidate in range(turn, turn + MOST_TURNS):
        plans = plan(candidate)
        if all(_begins_with(plans, sequence) for sequence in told):
            return plans
    message = "this worker plays another script, and can't go on with the answer; send the request again"
    raise HeadraceError(ErrorCode.WORKER_LOST, message)


def _begins_with(plans: Sequence[SequencePlan], told: ToldSequence) -> bool:
    if told.index >= len(plans):
        return False
    plan, count = plans[told.index], len(told.token_ids)
    return count <= plan.length and plan.token_ids_between(0, count) == told.token_ids


def told_position(told: Sequence[ToldSequence], *, sequences: int) -> int:
    """Return how many steps the job need not take again: every sequence has at least so many tokens, or has ended."""
    lengths = {sequence.index: len(sequence.token_ids) for sequence in told if not sequence.is_finished}
    finished = {sequence.index for sequence in told if sequence.is_finished}
    return min((lengths.get(index, 0) for index in range(sequences) if index not in finished), default=0)

"""The last line of a run."""

import statistics
import sys
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from tests.chaos.answer import Answer, Verdict
from tests.chaos.orders import Order
from tests.support.processes import EngineKind

BAD = ("lost", "doubled", "reordered", "hung", "miscounted", "misbilled")


class Report(Struct, kw_only=True):
    """What came of it. The first five after `faults`, and `misbilled`, must be zero.

    What has `diverged` is not counted as bad: every token came once and was counted, and vLLM chose another one than it
    did alone, as it may in another batch. `taken_up`, `ended_with_gateway` and `refused` are calls that were gone on
    with, or made again, as clients are told to.
    """

    requests: int
    faults: int
    lost: int
    doubled: int
    reordered: int
    hung: int
    miscounted: int
    misbilled: int
    gap_p50_ms: float
    gap_p99_ms: float
    seed: int
    engine: EngineKind
    diverged: int
    taken_up: int
    ended_with_gateway: int
    refused: int

    @property
    def bad(self) -> dict[str, int]:
        """What is not zero and must be."""
        return {name: getattr(self, name) for name in BAD if getattr(self, name)}


def make_report(
    done: Sequence[tuple[Order, Answer, Verdict]], *, seed: int, faults: int, engine: EngineKind, misbilled: int
) -> Report:
    """Count verdicts and gaps, and say what was not as it should be."""
    verdicts = Counter(verdict for _, _, verdict in done)
    for order, answer, verdict in done:
        if verdict not in ("whole", "diverged"):
            told = {index: len(text) for index, text in answer.texts.items()}
            sys.stdout.write(
                f"{verdict}: {order} id={answer.request_id} failure={answer.failure} told={told} "
                f"usage={answer.output_tokens} taken_up={answer.taken_up} given_up={answer.given_up}\n"
            )
    gaps = sorted(answer.longest_gap_seconds * 1000 for _, answer, _ in done) or [0.0, 0.0]
    return Report(
        requests=len(done),
        faults=faults,
        lost=verdicts["lost"],
        doubled=verdicts["doubled"],
        reordered=verdicts["reordered"],
        hung=verdicts["hung"],
        miscounted=verdicts["miscounted"],
        misbilled=misbilled,
        gap_p50_ms=round(statistics.median(gaps), 1),
        gap_p99_ms=round(gaps[int(len(gaps) * 0.99)], 1),
        seed=seed,
        engine=engine,
        diverged=verdicts["diverged"],
        taken_up=sum(answer.taken_up for _, answer, _ in done),
        ended_with_gateway=sum(answer.ended_with_gateway for _, answer, _ in done),
        refused=sum(answer.refused for _, answer, _ in done),
    )

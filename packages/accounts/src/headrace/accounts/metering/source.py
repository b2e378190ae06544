"""A source that counts: it reserves, submits to another source, and settles and records what that one used.

What is refused by a limit, or by the source behind, costs nothing and has no row in the ledger; refusals are in the
metrics and the log. What was accepted has exactly one row, whatever becomes of it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from msgspec import Struct

from headrace.accounts.base import LimitsDirectory
from headrace.accounts.ledger.entries import Opened
from headrace.accounts.ledger.ledger import UsageLedger
from headrace.accounts.limits import NO_LIMITS
from headrace.accounts.metering.estimate import EstimateLimits, estimate_usage
from headrace.accounts.metering.generation import MeteredGeneration
from headrace.accounts.metering.settling import Settling
from headrace.accounts.prices import PriceTable
from headrace.accounts.quota.base import Amount, Reservation, Subject
from headrace.accounts.quota.quota import Quota
from headrace.scheduler.base import Adoption, Generation, GenerationSource, Submission
from headrace.schema.caller import Caller, RateLimits
from headrace.schema.errors import HeadraceError

UNKNOWN_CONTEXT_TOKENS = 8192
"""Context of a model that only a provider knows."""


class MeteringParts(Struct, frozen=True, kw_only=True):
    """What the metering is made of.

    Attributes:
        limits: what each caller may use.
        quota: reserves and settles.
        ledger: records.
        prices: what tokens cost.
        settling: ends generations.
    """

    limits: LimitsDirectory
    quota: Quota
    ledger: UsageLedger
    prices: PriceTable
    settling: Settling


class MeteredSource:
    """A `GenerationSource` that counts what another one does.

    Args:
        inner: runs generations.
        parts: what counts them.
        context_of: the context length of a served name, None where nobody knows it.
        answered_by: the names by which those who may answer to a served name are priced, where they are others.
        assumed_output_tokens: see `EstimateLimits`.
        record_anonymous: whether callers without an account have rows too.
        clock: Unix seconds.
    """

    def __init__(
        self,
        inner: GenerationSource,
        parts: MeteringParts,
        *,
        context_of: Callable[[str], int | None],
        answered_by: Callable[[str], Iterable[str]] = lambda _: (),
        assumed_output_tokens: int = 0,
        record_anonymous: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner = inner
        self._parts = parts
        self._context_of = context_of
        self._answered_by = answered_by
        self._assumed_output_tokens = assumed_output_tokens
        self._record_anonymous = record_anonymous
        self._clock = clock

    async def submit(self, submission: Submission) -> Generation:
        """Reserve, and submit; see `GenerationSource`.

        Raises:
            HeadraceError: also `rate_limited` and `quota_exceeded`.
        """
        if not submission.caller.tenant_id and not self._record_anonymous:
            return await self._inner.submit(submission)
        reservation = await self._plan(submission)
        rate_limits = await self._parts.quota.reserve(reservation) if reservation.subjects else None
        return await self._submit(submission, rate_limits)

    async def _submit(self, submission: Submission, rate_limits: RateLimits | None) -> Generation:
        started_at = self._clock()
        opened = self._open(submission, started_at)
        try:
            generation = await self._inner.submit(submission)
        except BaseException:
            # Shielded, since the server may cancel us.
            await asyncio.shield(self._parts.settling.give_back(submission.request_id))
            raise
        return MeteredGeneration(
            generation,
            submission,
            settling=self._parts.settling,
            opened=opened,
            rate_limits=rate_limits,
            started_at=started_at,
        )

    async def adopt(self, adoption: Adoption) -> Generation:
        """Go on with what another gateway has reserved and recorded; see `GenerationSource`.

        It is settled here and once: that gateway did not, and the row that its journal leaves is replaced by ours.
        """
        submission = adoption.submission
        if not submission.caller.tenant_id and not self._record_anonymous:
            return await self._inner.adopt(adoption)
        generation = await self._inner.adopt(adoption)
        opened = self._open(submission, adoption.submitted_at)
        await self._take_over(submission)
        return MeteredGeneration(
            generation,
            submission,
            settling=self._parts.settling,
            opened=opened,
            rate_limits=None,
            started_at=adoption.submitted_at,
        )

    async def _take_over(self, submission: Submission) -> None:
        """Hold what another gateway has reserved; where nobody knows the limits now, it holds until its lease ends."""
        with suppress(HeadraceError):
            reservation = await self._plan(submission)
            if reservation.subjects:
                await self._parts.quota.take_over(reservation)

    def cancel(self, request_id: str) -> bool:
        """Cancel a generation; see `GenerationSource`."""
        return self._inner.cancel(request_id)

    async def check(self) -> None:
        """Check the source behind; without the quotas' store and the database we go on. See `GenerationSource`."""
        await self._inner.check()

    def _open(self, submission: Submission, started_at: float) -> "asyncio.Future[None] | None":
        if submission.request.count_only:
            return None
        caller = submission.caller
        return self._parts.ledger.open(
            Opened(
                request_id=submission.request_id,
                tenant_id=caller.tenant_id,
                key_id=caller.key_id,
                model=submission.request.model,
                lane=submission.lane,
                started_at=round(started_at * 1000),
                retained=submission.retained,
            )
        )

    async def _plan(self, submission: Submission) -> Reservation:
        """Return what a submission would reserve."""
        request, caller = submission.request, submission.caller
        context = self._context_of(request.model) or UNKNOWN_CONTEXT_TOKENS
        usage = estimate_usage(
            request, EstimateLimits(context_tokens=context, assumed_output_tokens=self._assumed_output_tokens)
        )
        cost = self._parts.prices.most(request.model, usage, answered_by=self._answered_by(request.model))
        return Reservation(
            request_id=submission.request_id,
            tenant_id=caller.tenant_id,
            owner=self._parts.quota.owner,
            subjects=await self._subjects_of(caller),
            estimate=Amount(usage.input_tokens + usage.output_tokens, cost),
        )

    async def _subjects_of(self, caller: Caller) -> tuple[Subject, ...]:
        if not caller.tenant_id:
            return ()
        limits = await self._parts.limits.limits_of(caller)
        subjects: list[Subject] = []
        if limits.key != NO_LIMITS:
            subjects.append(Subject(name=f"key:{caller.key_id}", limits=limits.key))
        if limits.tenant != NO_LIMITS:
            subjects.append(Subject(name=f"tenant:{caller.tenant_id}", limits=limits.tenant))
        return tuple(subjects)

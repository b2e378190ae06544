"""One request on its way through its targets.

A task asks one target after the other and puts what the first that answers says into a mailbox; the reader takes it out
by the contract of `Generation`. The mailbox is the scheduler's own: it merges while its reader is slow, finishes what
has started, and ends with one terminal event.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct, structs

from headrace.gateway.routing.attempt import ENDLESS, Patience, TargetTry
from headrace.gateway.routing.backoff import pause_before_retry
from headrace.gateway.routing.choose import Random, Step
from headrace.gateway.routing.decide import Next, TargetFailure, decide, failure_of, tell
from headrace.gateway.routing.facts import RoutingObserver
from headrace.gateway.routing.leases import ProviderLease
from headrace.gateway.routing.table import Route, Target
from headrace.gateway.unexpected import report_unexpected
from headrace.providers.base import ProviderCall
from headrace.scheduler.base import GenerationRecord, GenerationSource, Submission
from headrace.scheduler.mailbox import Mailbox
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import Event, GenerationFailed, GenerationQueued, StreamChunk
from headrace.schema.request import ChatCompletionRequest

_LEAST_SECONDS = 0.001
# Our own workers and scheduler keep the deadline themselves, and say why it passed and what that has cost.
OWN_GRACE_SECONDS = 1.0


class RunParts(Struct, frozen=True, kw_only=True):
    """What every run needs.

    Attributes:
        own: our own workers.
        random: decides among weights, and pauses.
        sleep: waits out a pause, in seconds.
        observers: are told of each try.
    """

    own: GenerationSource
    random: Random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    observers: Sequence[RoutingObserver]


class Run:
    """Asks targets until one answers.

    Attributes:
        mailbox: what the reader takes.

    Args:
        submission: the request.
        route: where it goes.
        steps: its targets, in order.
        leases: the providers among them.
        deadline: in the loop's time.
        parts: what every run needs.
    """

    def __init__(
        self,
        submission: Submission,
        *,
        route: Route,
        steps: Sequence[Step],
        leases: Mapping[str, ProviderLease],
        deadline: float,
        parts: RunParts,
    ) -> None:
        output = submission.request.output
        self.mailbox = Mailbox(
            submission.request_id,
            model=route.name,
            # See the scheduler: with them another gateway can go on.
            shows_token_ids=output.token_ids or submission.retained,
            shows_reasoning=output.reasoning or submission.retained,
        )
        self._submission = submission
        self._route = route
        self._steps = steps
        self._leases = leases
        self._deadline = deadline
        self._parts = parts
        self._now = asyncio.get_running_loop().time
        self._attempts = 0
        self._own_tries = 0
        self._offset = 0
        self._try: TargetTry | None = None
        self._retry_after_seconds: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None

    @property
    def record(self) -> GenerationRecord:
        """What it was, and has cost so far."""
        record = GenerationRecord(attempts=0) if self._try is None else self._try.record
        attempts = max(0, self._attempts - 1) + record.attempts
        return structs.replace(record, attempts=attempts, retry_after_seconds=self._retry_after_seconds)

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits for a worker of ours, while it does."""
        own = None if self._try is None else self._try.own
        return None if own is None or self.mailbox.has_ended else own.queued

    def begin(self, task: "asyncio.Task[None]") -> None:
        """Use the providers for as long as this task runs, which is ended when nobody reads any more."""
        self._task = task
        for lease in self._leases.values():
            lease.take()
            task.add_done_callback(lambda _, lease=lease: lease.give_back())

    def end(self, code: ErrorCode, message: str) -> None:
        """End it with a failure, unless it has ended, and hang up at once."""
        self._fail(code, message)
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Ask targets until one answers or all have failed; the mailbox always ends."""
        try:
            async with asyncio.timeout_at(self._deadline) as self._limit:
                await self._go()
        except TimeoutError:
            self._fail(ErrorCode.DEADLINE_EXCEEDED, "the request did not end before its deadline")
        except Exception as error:  # noqa: BLE001 - an edge: a fault of ours is told, too
            failure = report_unexpected(error, request_id=self._submission.request_id)
            self._fail(ErrorCode.INTERNAL_ERROR, failure.message)

    async def _go(self) -> None:
        steps, failures = deque(self._steps), list[TargetFailure]()
        was_deferred = False
        while steps:
            step = steps.popleft()
            failure = await self._ask(step.target, is_last=not steps)
            if failure is None:
                return
            failures.append(failure)
            if failure.was_expected and not was_deferred:
                # Better late than never: it is asked once more after the others.
                was_deferred = True
                steps.append(step)
            match decide(failure, retries_left=0):
                case Next.ANSWER:
                    self._answer(failure)
                    return
                case Next.LONGER:
                    steps = deque(left for left in steps if left.for_long_context)
                case _:
                    pass
        self._answer(tell(failures))

    def _long_wait_seconds(self, target: Target) -> float:
        # The batch lane takes what is left over, and has all the time to wait for it.
        is_patient = target.provider or self._submission.lane == "batch"
        return 0.0 if is_patient else self._route.on_long_wait_seconds

    def _patience(self, target: Target, *, is_last: bool) -> Patience:
        if is_last:
            return ENDLESS
        silent = self._route.first_token_seconds or None
        return Patience(start_seconds=self._long_wait_seconds(target) or silent, text_seconds=silent)

    async def _ask(self, target: Target, *, is_last: bool) -> TargetFailure | None:
        """Ask a target, more than once if that may help; return how it failed, or None if it answered."""
        patience = self._patience(target, is_last=is_last)
        if not target.provider:
            return await self._ask_own(target, patience)
        failure = await self._ask_provider(target, patience)
        retry = 0
        while failure is not None and decide(failure, retries_left=self._route.retries - retry) is Next.RETRY:
            retry += 1
            pause = pause_before_retry(
                retry,
                random=self._parts.random(),
                retry_after_seconds=failure.retry_after_seconds,
                left_seconds=self._left_seconds(),
            )
            if pause is None:
                break
            await self._parts.sleep(pause)
            if self._blocked_seconds(target) is not None:
                break
            failure = await self._ask_provider(target, patience)
        return failure

    async def _ask_own(self, target: Target, patience: Patience) -> TargetFailure | None:
        self._own_tries += 1
        # A worker that was told to drop the first of them must not drop this one.
        suffix = f"-{self._own_tries}" if self._own_tries > 1 else ""
        submission = structs.replace(
            self._submission,
            request_id=f"{self._submission.request_id}{suffix}",
            request=structs.replace(self._submission.request, model=target.model),
            timeout_seconds=self._left_seconds(),
        )
        tried = self._begin_try(target)
        tried.task_id = submission.request_id if suffix else ""
        self._keep_to(self._deadline + OWN_GRACE_SECONDS)
        outcome: str | None = ErrorCode.CANCELLED
        failure: TargetFailure | None = None
        try:
            try:
                tried.own = await self._parts.own.submit(submission)
            except HeadraceError as error:
                failure = failure_of(error, target)
            else:
                limit = None if patience == ENDLESS else self._long_wait_seconds(target)
                failure = await tried.refuse_wait(limit) if limit else None
                failure = failure or await tried.read(tried.own, patience)
            outcome = None if failure is None else failure.code
        finally:
            self._report(tried, outcome)
        self._keep_to(self._deadline)
        return failure

    def _keep_to(self, deadline: float) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(deadline)

    async def _ask_provider(self, target: Target, patience: Patience) -> TargetFailure | None:
        blocked = self._blocked_seconds(target)
        if blocked is not None:
            return TargetFailure(
                target=target,
                code=ErrorCode.PROVIDER_UNAVAILABLE,
                message="the provider is set aside for a while",
                retry_after_seconds=blocked,
                was_asked=False,
            )
        lease = self._leases[target.provider]
        health = lease.health(target.model)
        is_probe = health.begin(self._now())
        tried = self._begin_try(target)
        call = ProviderCall(
            request_id=self._submission.request_id,
            request=self._to_request(target),
            timeout_seconds=self._left_seconds(),
        )
        outcome: str | None = ErrorCode.CANCELLED
        sign: TargetFailure | None = None
        try:
            failure = await tried.read(lease.provider.generate(call), patience)
            outcome = None if failure is None else failure.code
            sign = tried.sign_of_health(failure)
        except asyncio.CancelledError:
            sign = self._failure_of_cancel(target)
            outcome = sign.code
            raise
        finally:
            if sign is None:
                health.succeed(self._now(), is_probe=is_probe)
            else:
                health.fail(self._now(), sign, is_probe=is_probe)
            self._report(tried, outcome)
        return failure

    def _to_request(self, target: Target) -> ChatCompletionRequest:
        """Return what a provider is asked; signatures are kept for whoever comes back for a retained generation."""
        request = self._submission.request
        output = structs.replace(request.output, signatures=request.output.signatures or self._submission.retained)
        return structs.replace(request, model=target.model, output=output)

    def _failure_of_cancel(self, target: Target) -> TargetFailure:
        """Return what the end of a try says of its target: nothing, since clients choose when they leave."""
        code = ErrorCode.DEADLINE_EXCEEDED if self._now() >= self._deadline else ErrorCode.CANCELLED
        return TargetFailure(target=target, code=code, message="")

    def _blocked_seconds(self, target: Target) -> float | None:
        return self._leases[target.provider].health(target.model).blocked_seconds(self._now())

    def _begin_try(self, target: Target) -> TargetTry:
        self._attempts += 1
        self._try = TargetTry(target, self._submission, self._tell)
        return self._try

    def _tell(self, events: Sequence[Event]) -> None:
        self.mailbox.accept(StreamChunk(self._submission.request_id, 1, self._offset, tuple(events)))
        self._offset += len(events)

    def _answer(self, failure: TargetFailure) -> None:
        self._retry_after_seconds = failure.retry_after_seconds
        self._fail(failure.code, failure.message, failure.param)

    def _fail(self, code: ErrorCode, message: str, param: str | None = None) -> None:
        if not self.mailbox.has_ended:
            usage = None if self._try is None else self.record.usage
            self._tell((GenerationFailed(code, message, self.mailbox.stage, answer_for(code).retryable, usage, param),))

    def _report(self, tried: TargetTry, outcome: str | None) -> None:
        for observer in self._parts.observers:
            observer.target_tried(tried.fact(self._route.name, outcome))

    def _left_seconds(self) -> float:
        return max(_LEAST_SECONDS, self._deadline - self._now())

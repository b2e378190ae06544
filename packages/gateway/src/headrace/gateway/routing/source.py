"""The `GenerationSource` over our own workers and the providers: it decides who is asked."""

import asyncio
from collections.abc import Mapping

from msgspec import Struct, structs

from headrace.gateway.routing.choose import Step, plan_steps
from headrace.gateway.routing.generation import RoutedGeneration
from headrace.gateway.routing.leases import ProviderLease
from headrace.gateway.routing.renamed import RenamedGeneration
from headrace.gateway.routing.run import Run, RunParts
from headrace.gateway.routing.table import Route
from headrace.scheduler.base import OWN_ROUTE, Adoption, Generation, Submission
from headrace.schema.checks import check_request
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import SchedulerSettings
from headrace.transport.tasks import TaskOwner


class Routing(Struct, frozen=True, kw_only=True):
    """Where every served name leads. A request keeps the one that it began with.

    Attributes:
        routes: by served name.
        providers: the providers that they lead to.
    """

    routes: Mapping[str, Route]
    providers: Mapping[str, ProviderLease]


class RoutedSource:
    """Takes submissions, and has each answered by a target of its route.

    What only our workers can answer goes to them as it is. Everything else runs in a task of its own.

    Args:
        parts: our own workers, and what decides.
        routing: where names lead.
        settings: limits and timeouts, the same as the scheduler's.
    """

    def __init__(self, parts: RunParts, *, routing: Routing, settings: SchedulerSettings) -> None:
        self._parts = parts
        self._routing = routing
        self._settings = settings
        self._runs: dict[str, Run] = {}
        # Of what was adopted under another id.
        self._task_ids: dict[str, str] = {}
        self._tasks = TaskOwner()
        self._is_closing = False

    @property
    def in_flight(self) -> int:
        """Requests that run here; those that only our workers can answer are theirs."""
        return len(self._runs)

    def use(self, routing: Routing) -> None:
        """Send requests that come from now on by this table."""
        self._routing = routing

    async def submit(self, submission: Submission) -> Generation:
        """Accept a request; see `GenerationSource`.

        Raises:
            HeadraceError: as there; and `forbidden`, where its privacy leaves nobody to answer.
        """
        routing = self._routing
        route = routing.routes.get(submission.request.model)
        if route is None:
            name = submission.request.model
            raise HeadraceError(ErrorCode.MODEL_NOT_FOUND, f"the model {name!r} does not exist", param="model")
        own = route.own_target
        if own is not None:
            return await self._submit_own(submission, own.model)
        check_request(submission.request)
        steps = plan_steps(
            route,
            local_only=submission.local_only or submission.caller.local_only,
            embeds=submission.request.embedding is not None,
            random=self._parts.random,
        )
        if len(steps) == 1 and not steps[0].target.provider:
            return await self._submit_own(submission, steps[0].target.model)
        self._check_room(submission.request_id)
        return self._start(submission, route, steps, routing)

    async def _submit_own(self, submission: Submission, model: str) -> Generation:
        if model != submission.request.model:
            submission = structs.replace(submission, request=structs.replace(submission.request, model=model))
        return await self._parts.own.submit(submission)

    async def adopt(self, adoption: Adoption) -> Generation:
        """Go on with what our own workers run; see `GenerationSource`.

        Raises:
            HeadraceError: as there; also `provider_unavailable` where it was not settled yet who answers.
        """
        submission, record = adoption.submission, adoption.record
        if record.route != OWN_ROUTE or not record.target:
            message = "the gateway that had this answered by a provider was lost; send the request again"
            raise HeadraceError(ErrorCode.PROVIDER_UNAVAILABLE, message)
        route = self._routing.routes.get(submission.request.model)
        if route is None or route.own_target is None:
            # Tries at others are counted too, of which our workers know nothing: a later attempt shows itself.
            record = structs.replace(record, attempts=1)
        request_id, task_id = submission.request_id, record.task_id or submission.request_id
        request = structs.replace(submission.request, model=record.target)
        submission = structs.replace(submission, request_id=task_id, request=request)
        own = await self._parts.own.adopt(structs.replace(adoption, submission=submission, record=record))
        if task_id == request_id:
            return own
        self._task_ids[request_id] = task_id
        return RenamedGeneration(own, request_id=request_id, on_end=lambda: self._task_ids.pop(request_id, None))

    def task_id_of(self, request_id: str) -> str:
        """Return the id by which our workers know what they run of a request now."""
        run = self._runs.get(request_id)
        known = self._task_ids.get(request_id) if run is None else run.record.task_id
        return known or request_id

    def _check_room(self, request_id: str) -> None:
        if self._is_closing:
            raise HeadraceError(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        if len(self._runs) >= self._settings.max_in_flight:
            raise HeadraceError(ErrorCode.OVERLOADED, "this gateway holds as many requests as it may; try again soon")
        if request_id in self._runs:
            raise HeadraceError(ErrorCode.CONFLICT, "a request with this id is running")

    def _start(
        self, submission: Submission, route: Route, steps: tuple[Step, ...], routing: Routing
    ) -> RoutedGeneration:
        names = dict.fromkeys(step.target.provider for step in steps if step.target.provider)
        timeout = submission.timeout_seconds or self._settings.request_timeout_seconds
        run = Run(
            submission,
            route=route,
            steps=steps,
            leases={name: routing.providers[name] for name in names},
            deadline=asyncio.get_running_loop().time() + timeout,
            parts=self._parts,
        )
        request_id = submission.request_id
        self._runs[request_id] = run
        task = self._tasks.start(run.run(), name=f"routed {request_id}")
        run.begin(task)
        task.add_done_callback(lambda _: self._runs.pop(request_id, None))
        return RoutedGeneration(run)

    def cancel(self, request_id: str) -> bool:
        """Cancel a generation wherever it is; see `GenerationSource`."""
        run = self._runs.get(request_id)
        if run is None or run.mailbox.has_ended:
            return self._parts.own.cancel(self._task_ids.get(request_id, request_id))
        run.end(ErrorCode.CANCELLED, "the request was cancelled")
        return True

    async def check(self) -> None:
        """Raise unless our own workers could be sent a request now: a provider that is ill makes nobody unready."""
        await self._parts.own.check()

    def end_all(self, code: ErrorCode, message: str) -> None:
        """Refuse new requests, and give every stream that still runs its terminal event."""
        self._is_closing = True
        for run in list(self._runs.values()):
            run.end(code, message)

    async def close(self) -> None:
        """Refuse new requests, and end those still running."""
        self.end_all(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        await self._tasks.close()

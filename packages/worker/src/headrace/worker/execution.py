"""One generation on this worker: from a task to the last event on the reply path.

It decides what a task is worth when it is picked up (cancelled, expired, redelivered), runs the engine, and turns every
way in which that can end into events. It knows no broker.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Literal

import structlog
from msgspec import structs

from headrace.schema.control import AttemptGranted, AttemptRefused, CancelGeneration, ControlMessage
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import (
    AttemptQuery,
    Event,
    GenerationFailed,
    GenerationFinished,
    SequenceDelta,
    Stage,
    Timings,
)
from headrace.schema.task import GenerationTask
from headrace.transport.base import ReplyWriter, WorkerTransport
from headrace.worker.engines.base import Engine, EngineDeadError, EngineJob
from headrace.worker.engines.best_of import generate_best
from headrace.worker.observer import GenerationRan, WorkerObserver
from headrace.worker.tombstones import Tombstones

QUERY_AGAIN_SECONDS = 2.0

StopReason = Literal["cancelled", "unread", "superseded", "handed back"]
# Reasons after which the task is another worker's.
_LEFT_TO_OTHERS = ("superseded", "handed back")

_log = structlog.get_logger("headrace.worker")


class _Run:
    """A generation that runs, and what was learnt about it meanwhile."""

    def __init__(self, task: GenerationTask, asyncio_task: "asyncio.Task[None] | None", picked_up: float) -> None:
        self.task = task
        self.asyncio_task = asyncio_task
        self.picked_up = picked_up
        self.first_token: float | None = None
        self.output_tokens = 0
        self.outcome: str = ErrorCode.CANCELLED
        self.attempt = 0
        self.stop_reason: StopReason | None = None

    @property
    def stage(self) -> Stage:
        return "prefill" if self.first_token is None else "decode"

    def stop(self, reason: StopReason) -> None:
        if self.stop_reason is None and self.asyncio_task is not None:
            self.stop_reason = reason
            self.asyncio_task.cancel()


class Execution:
    """Runs tasks on an engine. A `ControlReceiver` for its transport.

    Args:
        engine: what turns prompts into tokens.
        transport: the way back.
        worker_id: who we are.
        observers: who gets the facts.
        clock: Unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        transport: WorkerTransport,
        *,
        worker_id: str,
        observers: Sequence[WorkerObserver] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._worker_id = worker_id
        self._observers = observers
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._questions: dict[str, asyncio.Future[int | None]] = {}
        self._cancelled = Tombstones(clock)

    async def execute(self, task: GenerationTask, *, redelivered: bool) -> None:
        """Run a task to its end. Returning means that it may be acknowledged.

        Raises:
            EngineDeadError: the engine died before there was any text; the task is for another worker.
            asyncio.CancelledError: the task was handed back, and is for another worker.
        """
        run = _Run(task, asyncio.current_task(), self._clock())
        self._runs[task.request_id] = run
        try:
            if task.request_id in self._cancelled:
                run.outcome = ErrorCode.CANCELLED
            elif run.picked_up >= task.deadline:
                writer = self._transport.open_reply(task.reply_address, request_id=task.request_id, attempt=1)
                self._fail(run, writer, ErrorCode.DEADLINE_EXCEEDED, "the request waited past its deadline", "queue")
            elif (attempt := await self._find_attempt(task, redelivered=redelivered)) is None:
                run.outcome = "refused"
            else:
                await self._run_attempt(run, attempt)
            await self._flush(task)
        except EngineDeadError:
            run.outcome = ErrorCode.ENGINE_DEAD
            raise
        except asyncio.CancelledError:
            if run.stop_reason is None or run.stop_reason in _LEFT_TO_OTHERS:
                run.outcome = run.stop_reason or run.outcome
                raise
        finally:
            del self._runs[task.request_id]
            self._report(run)

    async def _flush(self, task: GenerationTask) -> None:
        """Wait until the last event has left: a task may only be acknowledged after that."""
        try:
            async with asyncio.timeout(max(0.0, task.deadline - self._clock())):
                await self._transport.flush()
        except TimeoutError:
            _log.warning("reply not delivered before the deadline", request_id=task.request_id)

    async def _find_attempt(self, task: GenerationTask, *, redelivered: bool) -> int | None:
        """Return the number of this attempt; None if the scheduler does not want it run."""
        if not redelivered:
            return 1
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._questions[task.request_id] = answer
        try:
            while self._clock() < task.deadline:
                self._transport.send_query(task.reply_address, AttemptQuery(task.request_id, self._worker_id))
                done, _ = await asyncio.wait({answer}, timeout=QUERY_AGAIN_SECONDS)
                if done:
                    return answer.result()
        finally:
            del self._questions[task.request_id]
        return None

    async def _run_attempt(self, run: _Run, attempt: int) -> None:
        task, run.attempt = run.task, attempt
        writer = self._transport.open_reply(task.reply_address, request_id=task.request_id, attempt=attempt)
        try:
            async with asyncio.timeout(task.deadline - self._clock()):
                await self._stream(run, writer)
        except TimeoutError:
            self._fail(run, writer, ErrorCode.DEADLINE_EXCEEDED, "the request did not end before its deadline")
        except HeadraceError as error:
            self._fail(run, writer, error.code, error.message, param=error.param)
        except EngineDeadError:
            if run.first_token is None:
                raise
            self._fail(run, writer, ErrorCode.ENGINE_DEAD, "the engine died; send the request again")
        except asyncio.CancelledError:
            if run.stop_reason != "handed back" or run.first_token is None:
                raise
            # It can't be continued elsewhere, so its reader learns at once that it has to be sent again.
            self._fail(run, writer, ErrorCode.SHUTTING_DOWN, "the worker is shutting down; send the request again")
        except Exception:  # noqa: BLE001 - the engine's edge: whatever it raises, its reader is told
            _log.exception("generation failed unexpectedly", request_id=task.request_id)
            self._fail(run, writer, ErrorCode.INTERNAL_ERROR, "the engine failed unexpectedly")
        finally:
            writer.close()

    async def _stream(self, run: _Run, writer: ReplyWriter) -> None:
        task = run.task
        job = EngineJob(
            request_id=task.request_id, worker_id=self._worker_id, request=task.request, priority=task.priority
        )
        async with aclosing(generate_best(self._engine, job)) as batches:
            async for events in batches:
                if run.first_token is None and any(type(event) is SequenceDelta for event in events):
                    run.first_token = self._clock()
                if isinstance(events[-1], GenerationFinished):
                    events[-1] = self._finish(run, events[-1])
                writer.write(events)

    def _finish(self, run: _Run, event: GenerationFinished) -> Event:
        now = self._clock()
        run.outcome = "finished"
        run.output_tokens = event.usage.output_tokens
        timings = Timings(
            queue_seconds=max(0.0, run.picked_up - run.task.submitted_at),
            first_token_seconds=(run.first_token or now) - run.picked_up,
            total_seconds=now - run.picked_up,
        )
        return structs.replace(event, timings=timings)

    def _fail(
        self,
        run: _Run,
        writer: ReplyWriter,
        code: ErrorCode,
        message: str,
        stage: Stage | None = None,
        *,
        param: str | None = None,
    ) -> None:
        run.outcome = code
        retryable = answer_for(code).retryable
        writer.write((GenerationFailed(code, message, stage or run.stage, retryable, param=param),))

    def _report(self, run: _Run) -> None:
        fact = GenerationRan(
            request_id=run.task.request_id,
            model=run.task.request.model,
            outcome=run.outcome,
            queue_seconds=max(0.0, run.picked_up - run.task.submitted_at),
            seconds=self._clock() - run.picked_up,
            first_token_seconds=None if run.first_token is None else run.first_token - run.picked_up,
            output_tokens=run.output_tokens,
        )
        for observer in self._observers:
            observer.generation_ran(fact)

    def receive_control(self, message: ControlMessage) -> None:
        """Take a control message from a scheduler."""
        match message:
            case CancelGeneration(request_id=request_id, deadline=deadline, up_to_attempt=0):
                self._cancelled.add(request_id, deadline)
                self._stop(request_id, "cancelled")
            case CancelGeneration(request_id=request_id, up_to_attempt=up_to_attempt):
                run = self._runs.get(request_id)
                if run is not None and run.attempt <= up_to_attempt:
                    run.stop("superseded")
            case AttemptGranted(request_id=request_id, attempt=attempt):
                self._answer(request_id, attempt)
            case AttemptRefused(request_id=request_id):
                self._answer(request_id, None)

    def lose_reply_address(self, request_ids: Sequence[str]) -> None:
        """Stop what nobody reads any more."""
        for request_id in request_ids:
            self._stop(request_id, "unread")

    def hand_back(self, request_ids: Sequence[str]) -> None:
        """End what still runs, because this worker goes: another one takes what has sent no text yet."""
        for request_id in request_ids:
            self._stop(request_id, "handed back")

    def _stop(self, request_id: str, reason: StopReason) -> None:
        if (run := self._runs.get(request_id)) is not None:
            run.stop(reason)

    def _answer(self, request_id: str, attempt: int | None) -> None:
        question = self._questions.get(request_id)
        if question is not None and not question.done():
            question.set_result(attempt)

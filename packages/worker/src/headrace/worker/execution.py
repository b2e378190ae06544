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

from headrace.schema.codec import CodecError, decode_request
from headrace.schema.control import (
    AdoptGeneration,
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ControlMessage,
    ResendReplies,
    ToldSequence,
)
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    Event,
    GenerationFailed,
    GenerationFinished,
    SequenceDelta,
    Stage,
    Timings,
)
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.task import GenerationTask
from headrace.transport.base import ReplyWriter, WorkerTransport
from headrace.transport.objects import PayloadError, PayloadStore
from headrace.worker.adoptions import Adoptions
from headrace.worker.engines.base import Engine, EngineDeadError, EngineJob
from headrace.worker.engines.best_of import generate_best
from headrace.worker.observer import GenerationRan, WorkerObserver
from headrace.worker.tombstones import Tombstones

QUERY_AGAIN_SECONDS = 2.0

StopReason = Literal["cancelled", "unread", "superseded", "handed back"]
# Reasons after which the task is another worker's.
_LEFT_TO_OTHERS = ("superseded", "handed back")

_log = structlog.get_logger("headrace.worker")


class DeadLetterError(Exception):
    """A task is not to be run again: it is kept as a dead letter. The message says why."""


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
        payloads: where large requests lie; None where there is no object store.
    """

    def __init__(
        self,
        engine: Engine,
        transport: WorkerTransport,
        *,
        worker_id: str,
        observers: Sequence[WorkerObserver] = (),
        clock: Callable[[], float] = time.time,
        payloads: PayloadStore | None = None,
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._worker_id = worker_id
        self._observers = observers
        self._clock = clock
        self._payloads = payloads
        self._runs: dict[str, _Run] = {}
        self._questions: dict[str, asyncio.Future[AttemptGranted | AttemptRefused]] = {}
        self._cancelled = Tombstones(clock)
        self._adoptions = Adoptions(clock)

    async def execute(self, task: GenerationTask, *, redelivered: bool) -> None:
        """Run a task to its end. Returning means that it may be acknowledged.

        Raises:
            EngineDeadError: the engine died; the task is for another worker, which goes on with it.
            DeadLetterError: too many workers were lost under it.
            asyncio.CancelledError: the task was handed back, and is for another worker.
        """
        run = _Run(task, asyncio.current_task(), self._clock())
        self._runs[task.request_id] = run
        try:
            if task.request_id in self._cancelled:
                run.outcome = ErrorCode.CANCELLED
            elif run.picked_up >= task.deadline:
                writer = self._open_reply(task, attempt=1)
                self._fail(run, writer, ErrorCode.DEADLINE_EXCEEDED, "the request waited past its deadline", "queue")
            elif (granted := await self._find_attempt(task, redelivered=redelivered or task.is_repeat)) is None:
                run.outcome = "refused"
            else:
                await self._run_attempt(run, granted)
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
        """Wait until the last event has left: a task may only be acknowledged after that.

        Nor may a retained one whose reader is gone, before another has taken it up: until then all of it is here only.
        """
        try:
            async with asyncio.timeout(max(0.0, task.deadline - self._clock())):
                await self._transport.flush()
                if task.retained:
                    await self._transport.wait_heard(task.request_id)
                    await self._transport.flush()
        except TimeoutError:
            _log.warning("reply not delivered before the deadline", request_id=task.request_id)

    async def _find_attempt(self, task: GenerationTask, *, redelivered: bool) -> AttemptGranted | None:
        """Return which attempt this is, and what earlier ones told; None if the scheduler does not want it run.

        Raises:
            DeadLetterError: it is not to be tried again.
        """
        if not redelivered:
            return AttemptGranted(task.request_id, 1)
        answer: asyncio.Future[AttemptGranted | AttemptRefused] = asyncio.get_running_loop().create_future()
        self._questions[task.request_id] = answer
        try:
            while self._clock() < task.deadline:
                self._transport.send(self._adoptions.address_of(task), AttemptQuery(task.request_id, self._worker_id))
                done, _ = await asyncio.wait({answer}, timeout=QUERY_AGAIN_SECONDS)
                if done:
                    return self._read_answer(answer.result())
        finally:
            del self._questions[task.request_id]
        return None

    @staticmethod
    def _read_answer(answer: AttemptGranted | AttemptRefused) -> AttemptGranted | None:
        if isinstance(answer, AttemptGranted):
            return answer
        if answer.dead_letter:
            raise DeadLetterError(answer.dead_letter)
        return None

    async def _run_attempt(self, run: _Run, granted: AttemptGranted) -> None:
        task, run.attempt = run.task, granted.attempt
        writer = self._open_reply(task, attempt=granted.attempt)
        try:
            async with asyncio.timeout(task.deadline - self._clock()):
                await self._stream(run, writer, granted.told)
        except TimeoutError:
            self._fail(run, writer, ErrorCode.DEADLINE_EXCEEDED, "the request did not end before its deadline")
        except HeadraceError as error:
            self._fail(run, writer, error.code, error.message, param=error.param)
        except EngineDeadError:
            raise
        except Exception:  # noqa: BLE001 - the engine's edge: whatever it raises, its reader is told
            _log.exception("generation failed unexpectedly", request_id=task.request_id)
            self._fail(run, writer, ErrorCode.INTERNAL_ERROR, "the engine failed unexpectedly")
        finally:
            writer.close()

    def _open_reply(self, task: GenerationTask, *, attempt: int) -> ReplyWriter:
        address = self._adoptions.address_of(task)
        return self._transport.open_reply(
            address, request_id=task.request_id, attempt=attempt, is_retained=task.retained
        )

    async def _stream(self, run: _Run, writer: ReplyWriter, told: tuple[ToldSequence, ...]) -> None:
        task = run.task
        # All tokens are told, also of reasoning, whether the client asked or not: with them another worker can go on.
        whole = await self._load_request(task)
        output = structs.replace(whole.output, token_ids=True, reasoning=True)
        job = EngineJob(
            request_id=task.request_id,
            worker_id=self._worker_id,
            request=structs.replace(whole, output=output),
            priority=task.priority,
            told=told,
        )
        async with aclosing(generate_best(self._engine, job)) as batches:
            async for events in batches:
                if run.first_token is None and any(type(event) is SequenceDelta for event in events):
                    run.first_token = self._clock()
                if isinstance(events[-1], GenerationFinished):
                    events[-1] = self._finish(run, events[-1])
                writer.write(events)

    async def _load_request(self, task: GenerationTask) -> ChatCompletionRequest:
        """Return the whole request, out of the object store where it lies there.

        Raises:
            HeadraceError: `payload_lost`.
        """
        if task.payload is None:
            return task.request
        if self._payloads is None:
            message = "a large request lies in an object store that this worker does not know: set objects.url"
            raise HeadraceError(ErrorCode.PAYLOAD_LOST, message)
        try:
            return decode_request(await self._payloads.load(task.payload))
        except (PayloadError, CodecError) as error:
            raise HeadraceError(ErrorCode.PAYLOAD_LOST, str(error)) from None

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
            case AttemptGranted() | AttemptRefused():
                self._answer(message)
            case ResendReplies(request_id=request_id, attempt=attempt):
                self._transport.resend(request_id, attempt)
            case ConfirmAttempt(request_id=request_id, attempt=attempt):
                self._confirm(request_id, attempt)
            case AdoptGeneration():
                self._note_adoption(message)

    def _note_adoption(self, adoption: AdoptGeneration) -> None:
        if not self._adoptions.note(adoption):
            return
        request_id, address = adoption.request_id, adoption.reply_address
        self._transport.redirect(request_id, address)
        if request_id in self._questions:
            self._transport.send(address, AttemptQuery(request_id, self._worker_id))

    def _confirm(self, request_id: str, attempt: int) -> None:
        run = self._runs.get(request_id)
        if run is not None and run.attempt == attempt and run.stop_reason is None:
            statement = AttemptRunning(request_id, attempt, self._worker_id)
            self._transport.send(self._adoptions.address_of(run.task), statement)

    def lose_readers(self, request_ids: Sequence[str]) -> None:
        """Stop what nobody reads any more, but for what is retained: somebody may take that up."""
        for request_id in request_ids:
            run = self._runs.get(request_id)
            if run is not None and run.task.retained:
                _log.warning("generation runs on unread", request_id=request_id)
            else:
                self._stop(request_id, "unread")

    def hand_back(self, request_ids: Sequence[str]) -> None:
        """End what still runs, because this worker goes: another one goes on with it."""
        for request_id in request_ids:
            self._stop(request_id, "handed back")

    def _stop(self, request_id: str, reason: StopReason) -> None:
        if (run := self._runs.get(request_id)) is not None:
            run.stop(reason)

    def _answer(self, answer: AttemptGranted | AttemptRefused) -> None:
        question = self._questions.get(answer.request_id)
        if question is not None and not question.done():
            question.set_result(answer)

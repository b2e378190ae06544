"""One generation on this worker: from a task to the last event on the reply path.

It decides what a task is worth when it is picked up (cancelled, expired, redelivered), runs the engine, and turns every
way in which that can end into events. It knows no broker.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

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
from headrace.schema.dead_letter import LostAttempt
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    Event,
    GenerationFailed,
    GenerationFinished,
    SequenceDelta,
    Stage,
    Usage,
)
from headrace.schema.last_word import LastWord
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.task import GenerationTask
from headrace.transport.base import ReplyWriter, WorkerTransport
from headrace.transport.objects import PayloadError, PayloadStore
from headrace.worker.adoptions import Adoptions
from headrace.worker.engines.base import EngineDeadError, EngineJob
from headrace.worker.last_words import LastWordWriter
from headrace.worker.observer import WorkerObserver
from headrace.worker.running import Run, StopReason
from headrace.worker.station import Station
from headrace.worker.tombstones import Tombstones

QUERY_AGAIN_SECONDS = 2.0


_log = structlog.get_logger("headrace.worker")


class DeadLetterError(Exception):
    """A task is not to be run again: it is kept as a dead letter. The message says why.

    Attributes:
        attempts: what was tried before.
    """

    def __init__(self, reason: str, attempts: tuple[LostAttempt, ...] = ()) -> None:
        super().__init__(reason)
        self.attempts = attempts


class SupersededError(Exception):
    """Another worker runs the task: its message here is settled, and may come again."""


class Execution:
    """Runs tasks on an engine. A `ControlReceiver` for its transport.

    Args:
        stations: what serves each model of this worker.
        transport: the way back.
        worker_id: who we are.
        observers: who gets the facts.
        clock: Unix seconds.
        payloads: where large requests lie; None where there is no object store.
        last_words: leaves what orphaned generations have used.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        transport: WorkerTransport,
        *,
        worker_id: str,
        observers: Sequence[WorkerObserver] = (),
        clock: Callable[[], float] = time.time,
        payloads: PayloadStore | None = None,
        last_words: LastWordWriter | None = None,
    ) -> None:
        self._stations = {station.model: station for station in stations}
        self._transport = transport
        self._worker_id = worker_id
        self._observers = observers
        self._clock = clock
        self._payloads = payloads
        self._last_words = last_words or LastWordWriter(None)
        self._runs: dict[str, Run] = {}
        self._questions: dict[str, asyncio.Future[AttemptGranted | AttemptRefused]] = {}
        self._cancelled = Tombstones(clock)
        self._is_draining = False
        self._adoptions = Adoptions(clock)

    async def execute(self, task: GenerationTask, *, redelivered: bool) -> None:
        """Run a task to its end. Returning means that it may be acknowledged.

        Raises:
            EngineDeadError: the engine died; the task is for another worker, which goes on with it.
            SupersededError: another worker runs it, out of a message of its own.
            DeadLetterError: too many workers were lost under it, or it is for none of our models.
            asyncio.CancelledError: the task was handed back, and is for another worker.
        """
        if task.request_id in self._runs:
            # A copy of what runs here, or asks here: this message is one too many.
            _log.info("copy of a task dropped", request_id=task.request_id, copy=task.copy)
            return
        run = Run(task, asyncio.current_task(), clock=self._clock, observers=self._observers)
        if self._is_draining:
            run.go_when_idle()
        self._runs[task.request_id] = run
        try:
            if task.request_id in self._cancelled:
                run.outcome = ErrorCode.CANCELLED
            elif run.picked_up >= task.deadline:
                writer = self._open_reply(task, attempt=1)
                self._fail(run, writer, ErrorCode.DEADLINE_EXCEEDED, "the request waited past its deadline", "queue")
            elif (
                granted := await self._find_attempt(task, must_ask=redelivered or self._may_run_elsewhere(task))
            ) is None:
                run.outcome = "refused"
            else:
                await self._run_attempt(run, granted)
            await self._flush(run)
        except EngineDeadError:
            run.outcome, run.goes_on = ErrorCode.ENGINE_DEAD, True
            raise
        except asyncio.CancelledError:
            if run.stop_reason == "superseded":
                run.outcome, run.goes_on = run.stop_reason, True
                raise SupersededError from None
            if run.stop_reason is None or run.stop_reason == "handed back":
                run.goes_on = True
                run.outcome = run.stop_reason or run.outcome
                self._transport.send(
                    self._adoptions.address_of(task),
                    AttemptRunning(task.request_id, run.attempt, self._worker_id, is_returned=True),
                )
                raise
        finally:
            del self._runs[task.request_id]
            self._note_end(run)
            run.report()

    def _note_end(self, run: Run) -> None:
        if not run.attempt or run.goes_on:
            return
        task = run.task
        model = task.deployment or task.request.model
        word = LastWord(task.request_id, run.attempt, self._worker_id, run.used, self._clock(), model)
        self._last_words.note(word, is_orphan=run.is_orphan)

    async def _flush(self, run: Run) -> None:
        """Wait until the last event has arrived at the broker: a task may only be acknowledged after that.

        Nor may a retained one whose reader is gone, before another has taken it up: until then all of it is here only.
        """
        task = run.task
        try:
            async with asyncio.timeout(max(0.0, task.deadline - self._clock())):
                await self._transport.flush()
                if task.retained:
                    await self._transport.wait_heard(task.request_id)
                    await self._transport.flush()
                # Its reader has the end about now.
                run.report()
                await self._transport.wait_read()
        except TimeoutError:
            run.is_unheard = True
            _log.warning("reply not delivered before the deadline", request_id=task.request_id)

    def _may_run_elsewhere(self, task: GenerationTask) -> bool:
        return task.is_repeat or 0 < task.ask_after <= self._clock()

    async def _find_attempt(self, task: GenerationTask, *, must_ask: bool) -> AttemptGranted | None:
        """Return which attempt this is, and what earlier ones told; None if the scheduler does not want it run.

        Raises:
            DeadLetterError: it is not to be tried again.
        """
        if not must_ask:
            # Said at once: what comes before the start (a payload, the prompt) may take a while.
            statement = AttemptRunning(task.request_id, 1, self._worker_id)
            self._transport.send(self._adoptions.address_of(task), statement)
            return AttemptGranted(task.request_id, 1)
        answer: asyncio.Future[AttemptGranted | AttemptRefused] = asyncio.get_running_loop().create_future()
        self._questions[task.request_id] = answer
        try:
            while self._clock() < task.deadline:
                self._ask(task)
                done, _ = await asyncio.wait({answer}, timeout=QUERY_AGAIN_SECONDS)
                if done:
                    return self._read_answer(answer.result())
        finally:
            del self._questions[task.request_id]
        return None

    def _ask(self, task: GenerationTask) -> None:
        question = AttemptQuery(task.request_id, self._worker_id, task.copy)
        self._transport.send(self._adoptions.address_of(task), question)

    @staticmethod
    def _read_answer(answer: AttemptGranted | AttemptRefused) -> AttemptGranted | None:
        if isinstance(answer, AttemptGranted):
            return answer
        if answer.dead_letter:
            raise DeadLetterError(answer.dead_letter, answer.attempts)
        return None

    async def _run_attempt(self, run: Run, granted: AttemptGranted) -> None:
        task, run.attempt = run.task, granted.attempt
        writer = self._open_reply(task, attempt=granted.attempt)
        run.note_used(Usage(0, sum(len(sequence.token_ids) for sequence in granted.told)))
        try:
            async with asyncio.timeout(task.deadline - self._clock()):
                await self._stream(run, writer, granted.told)
        except TimeoutError:
            self._fail(run, writer, ErrorCode.DEADLINE_EXCEEDED, "the request did not end before its deadline")
        except HeadraceError as error:
            self._fail(run, writer, error.code, error.message, param=error.param)
        except (EngineDeadError, DeadLetterError):
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

    async def _stream(self, run: Run, writer: ReplyWriter, told: tuple[ToldSequence, ...]) -> None:
        task = run.task
        station = self._find_station(task)
        # All tokens are told, also of reasoning, whether the client asked or not: with them another worker can go on.
        whole = await self._load_request(task)
        output = structs.replace(whole.output, token_ids=True, reasoning=True)
        job = EngineJob(
            request_id=task.request_id,
            worker_id=self._worker_id,
            request=structs.replace(whole, output=output),
            priority=task.priority,
            told=told,
            lane=task.lane,
            on_cut=run.note_used,
        )

        def tell(events: list[Event]) -> None:
            if run.first_token is None and any(type(event) is SequenceDelta for event in events):
                run.first_token = self._clock()
            if isinstance(events[-1], GenerationFinished):
                events[-1] = self._finish(run, events[-1], station)
            writer.write(events)

        await station.run(job, tell=tell, listener=run)

    def _find_station(self, task: GenerationTask) -> Station:
        model = task.deployment or task.request.model
        if (station := self._stations.get(model)) is None:
            raise DeadLetterError(f"the task is for {model}, which this worker does not run")
        return station

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

    def _finish(self, run: Run, event: GenerationFinished, station: Station) -> Event:
        run.outcome = "finished"
        run.note_used(event.usage)
        if event.usage.output_tokens:
            station.learn(event.usage.input_tokens + event.usage.output_tokens)
        return structs.replace(event, timings=run.time_taken())

    def _fail(
        self,
        run: Run,
        writer: ReplyWriter,
        code: ErrorCode,
        message: str,
        stage: Stage | None = None,
        *,
        param: str | None = None,
    ) -> None:
        run.outcome = code
        retryable = answer_for(code).retryable
        # What was sampled may be more than what was told. Of one that never began here the scheduler knows more.
        usage = run.used if run.used.input_tokens else None
        writer.write((GenerationFailed(code, message, stage or run.stage, retryable, usage, param),))

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
        is_news = self._adoptions.note(adoption)
        if is_news:
            self._transport.redirect(adoption.request_id, adoption.reply_address)
        run = self._runs.get(adoption.request_id)
        if run is None:
            return
        if adoption.request_id in self._questions:
            if is_news:
                self._ask(run.task)
        elif run.attempt:
            # Said each time: who adopts it may not know yet that anybody has it, and takes silence for a loss.
            self._confirm(adoption.request_id, run.attempt)

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
                # One that asks goes on asking, until whoever adopts it answers.
                _log.warning("generation runs on unread", request_id=request_id)
            elif run is not None:
                run.stop("unread")
            else:
                self._last_words.orphan(request_id)

    def begin_drain(self) -> None:
        """Hand back at once what does not run, of the batch lane: another worker goes on with it."""
        self._is_draining = True
        for run in list(self._runs.values()):
            run.go_when_idle()

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

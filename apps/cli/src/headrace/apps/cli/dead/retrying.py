"""Tries a dead letter again, and reads its answer: its own client was told that it failed, and reads no more.

So the command is the scheduler of that one request. All that a gateway does for a request happens here too; only the
way of the task into its queue is another one, which takes the history along and the dead letter away.
"""

import asyncio
import secrets
from collections.abc import Sequence

from msgspec import Struct, structs

from headrace.scheduler.base import Submission
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.control import ControlMessage
from headrace.schema.events import GenerationFailed, GenerationFinished, SequenceDelta
from headrace.schema.levels import levels_of
from headrace.schema.names import Lane
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import Settings
from headrace.schema.task import GenerationTask
from headrace.transport.base import QueueDepth, ReplyReceiver, SchedulerTransport, TransportUnavailableError
from headrace.transport.objects import open_payloads
from headrace.transport.rabbitmq import DeadLetterBox, DeadTaskFound, RabbitmqSchedulerTransport
from headrace.transport.redis import RedisRelay
from headrace.transport.tasks import TaskOwner


class Retried(Struct, frozen=True, kw_only=True):
    """What became of a dead letter.

    Attributes:
        id: of the dead letter.
        request_id: under which it was tried again.
        outcome: `finished`, or the code of the failure.
        message: of the failure.
        output_tokens: tokens of the answer, where it finished.
        answer: the text of each sequence.
    """

    id: str
    request_id: str
    outcome: str
    message: str = ""
    output_tokens: int = 0
    answer: tuple[str, ...] = ()


class _InPlaceOf:
    """A `SchedulerTransport` whose one task takes the place of a dead letter."""

    def __init__(self, inner: SchedulerTransport, box: DeadLetterBox, found: DeadTaskFound) -> None:
        self._inner = inner
        self._box = box
        self._found = found
        self._receiver: ReplyReceiver | None = None
        self._tasks = TaskOwner()

    @property
    def reply_address(self) -> str:
        return self._inner.reply_address

    async def start(self, receiver: ReplyReceiver) -> None:
        self._receiver = receiver
        await self._inner.start(receiver)

    async def wait_ready(self) -> None:
        await self._inner.wait_ready()

    async def add_models(self, models: Sequence[str]) -> None:
        await self._inner.add_models(models)

    def publish_task(self, task: GenerationTask, *, level: int | None = None) -> None:  # noqa: ARG002 - the box knows it
        if task.copy:
            raise TransportUnavailableError("a dead letter is tried again once")
        lane = self._found.task.lane if self._found.task is not None else task.lane
        self._tasks.start(self._publish(structs.replace(task, lane=lane)), name="retry")

    async def _publish(self, task: GenerationTask) -> None:
        try:
            await asyncio.to_thread(self._box.retry, self._found, task)
        except TransportUnavailableError as error:
            if self._receiver is not None:
                self._receiver.reject_task(task.request_id, str(error))

    def withdraw_task(self, request_id: str) -> bool:  # noqa: ARG002 - it is sent at once, or not at all
        return False

    async def measure_queue(self, model: str, lane: Lane) -> QueueDepth | None:
        return await self._inner.measure_queue(model, lane)

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        self._inner.send_control(message, model=model, worker_id=worker_id)

    async def check(self) -> None:
        await self._inner.check()

    async def close(self) -> None:
        await self._tasks.close()
        await self._inner.close()


async def retry(
    found: DeadTaskFound,
    request: ChatCompletionRequest,
    *,
    box: DeadLetterBox,
    settings: Settings,
    timeout_seconds: float,
) -> Retried:
    """Try a dead letter again, and return what became of it.

    Args:
        found: the dead letter; it can be decoded.
        request: its whole request.
        box: where it lies.
        settings: of the broker and what stands beside it.
        timeout_seconds: from now to its deadline.

    Raises:
        HeadraceError: it is not accepted.
    """
    task = found.task
    if task is None:
        raise ValueError("it can't be decoded, so it can't be tried again")
    relay = RedisRelay(settings.redis) if settings.redis.url else None
    inner = RabbitmqSchedulerTransport(
        settings.broker, replica_id=f"retry-{secrets.token_hex(4)}", models=(), relay=relay
    )
    payloads = open_payloads(settings.objects)
    scheduler = Scheduler(
        _InPlaceOf(inner, box, found),
        models={request.model: task.deployment or request.model},
        settings=settings.scheduler,
        levels=levels_of(settings.broker.queue_type),
        large=None if payloads is None else LargeRequests(payloads, settings.objects),
    )
    await scheduler.start()
    try:
        submission = Submission(
            request_id=found.next_id,
            request=request,
            priority=task.priority,
            timeout_seconds=timeout_seconds,
            lane=task.lane,
        )
        return await _read(scheduler, submission, found)
    finally:
        await scheduler.close()


async def _read(scheduler: Scheduler, submission: Submission, found: DeadTaskFound) -> Retried:
    generation = await scheduler.submit(submission)
    texts: dict[int, str] = {}
    retried = Retried(id=found.id, request_id=submission.request_id, outcome="")
    async for events in generation:
        for event in events:
            match event:
                case SequenceDelta(index=index, text=text):
                    texts[index] = texts.get(index, "") + text
                case GenerationFinished(usage=usage):
                    retried = structs.replace(retried, outcome="finished", output_tokens=usage.output_tokens)
                case GenerationFailed(code=code, message=message):
                    retried = structs.replace(retried, outcome=code, message=message)
                case _:
                    pass
    return structs.replace(retried, answer=tuple(text for _, text in sorted(texts.items())))

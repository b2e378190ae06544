"""Tasks on their way into a queue: kept until the broker has confirmed them, so that none is lost when it goes away."""

from collections.abc import Sequence

from msgspec import Struct, structs

from headrace.schema.task import GenerationTask
from headrace.transport.envelope import build_envelope


class OutgoingTask(Struct):
    """A task and its envelope.

    Attributes:
        task: what is sent.
        body: its envelope.
        level: what the broker orders it by.
        was_sent: it was written to a connection, and may have arrived.
    """

    task: GenerationTask
    body: bytes
    level: int
    was_sent: bool = False


class OutgoingTasks:
    """Bounded by the requests that the scheduler holds at once."""

    def __init__(self) -> None:
        self._tasks: dict[str, OutgoingTask] = {}
        self._unsent: dict[str, None] = {}
        self._unconfirmed: dict[int, str] = {}
        self._published = 0

    def add(self, task: GenerationTask, body: bytes, *, level: int) -> None:
        """Take a task that is to be sent. A copy takes the place of what is still here of its task."""
        # Its task was sent long ago, so a copy may never be said not to have been.
        self._tasks[task.request_id] = OutgoingTask(task, body, level, was_sent=task.copy > 0)
        self._unsent[task.request_id] = None

    def take_unsent(self) -> Sequence[OutgoingTask]:
        """Return what is to be sent now, in the order in which it came."""
        unsent = [self._tasks[request_id] for request_id in self._unsent if request_id in self._tasks]
        self._unsent.clear()
        return unsent

    def note_sent(self, request_id: str) -> None:
        """Count a task that was written to the connection; the broker confirms by this count."""
        self._published += 1
        self._unconfirmed[self._published] = request_id
        self._tasks[request_id].was_sent = True

    def settle(self, tag: int, *, is_multiple: bool) -> Sequence[str]:
        """Forget what the broker has answered for, and return which requests those are."""
        # Answers come in order, so what a multiple one covers is at the front.
        tags = [known for known in self._unconfirmed if known <= tag] if is_multiple else [tag]
        settled = [request_id for known in tags if (request_id := self._unconfirmed.pop(known, None)) is not None]
        for request_id in settled:
            self._tasks.pop(request_id, None)
        return settled

    def withdraw(self, request_id: str) -> bool:
        """Send a task no more; tell whether it had never been sent."""
        known = self._tasks.pop(request_id, None)
        return known is not None and not known.was_sent

    def begin_again(self) -> Sequence[OutgoingTask]:
        """Return what goes out on a new connection: all that was not confirmed, marked where it may have arrived."""
        self._unconfirmed.clear()
        self._unsent.clear()
        self._published = 0
        for known in self._tasks.values():
            if known.was_sent and not known.task.is_repeat:
                known.task = structs.replace(known.task, is_repeat=True)
                known.body = build_envelope(known.task)
        return list(self._tasks.values())

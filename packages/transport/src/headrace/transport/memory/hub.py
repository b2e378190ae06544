"""Where the two sides of the memory transport meet."""

import itertools
from collections.abc import Sequence

from headrace.schema.codec import decode_control, decode_replies
from headrace.schema.events import ReplyItem
from headrace.schema.names import LANES, task_queue_name
from headrace.transport.base import ControlReceiver, ReplyReceiver
from headrace.transport.memory.broker import MemoryBroker, MemoryQueue


class MemoryHub:
    """The queues of the process, and who listens to which address. Lives on one event loop."""

    def __init__(self) -> None:
        self.queues: dict[str, MemoryQueue] = {}
        self._readers: dict[str, ReplyReceiver] = {}
        self._workers: dict[str, tuple[Sequence[str], ControlReceiver]] = {}
        self._numbers = itertools.count(1)

    def open_broker(self) -> MemoryBroker:
        """Return a broker of its own for one worker; its actors are its own, the queues are everybody's."""
        return MemoryBroker(self.queues)

    def declare_queue(self, name: str) -> None:
        """Make a task queue, unless it is there."""
        self.queues.setdefault(name, MemoryQueue())

    def declare_models(self, models: Sequence[str]) -> None:
        """Make the task queues of models, of each lane."""
        for model in models:
            for lane in LANES:
                self.declare_queue(task_queue_name(model, lane))

    def new_reply_address(self) -> str:
        """Return an address that no other scheduler has."""
        return f"memory.{next(self._numbers)}"

    def open_reply_queue(self, address: str, receiver: ReplyReceiver) -> None:
        """Make a reply queue with one reader."""
        self._readers[address] = receiver

    def close_reply_queue(self, address: str) -> None:
        """Take a reply queue away; what is sent to it from now on is undeliverable."""
        self._readers.pop(address, None)

    def join_worker(self, worker_id: str, models: Sequence[str], receiver: ControlReceiver) -> None:
        """Let control messages reach a worker."""
        self._workers[worker_id] = (models, receiver)

    def leave_worker(self, worker_id: str) -> None:
        """Let no more control messages reach a worker."""
        self._workers.pop(worker_id, None)

    def deliver_replies(self, address: str, body: bytes) -> Sequence[ReplyItem]:
        """Hand a batch to the reader of a reply queue; return what could not be delivered."""
        items = decode_replies(body)
        if (reader := self._readers.get(address)) is None:
            return items
        reader.receive_replies(items)
        return ()

    def deliver_control(self, body: bytes, *, model: str, worker_id: str | None) -> bool:
        """Hand a control message to one worker, or to every worker of the model; tell whether anybody got it."""
        if worker_id is None:
            receivers = [receiver for models, receiver in self._workers.values() if model in models]
        else:
            receivers = [self._workers[worker_id][1]] if worker_id in self._workers else []
        for receiver in receivers:
            receiver.receive_control(decode_control(body))
        return bool(receivers)

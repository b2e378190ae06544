"""Sends chunks round the broker: one batch at a time, while what comes meanwhile is merged."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from headrace.schema.events import ReplyItem
from headrace.schema.names import reply_channel
from headrace.transport.base import TransportUnavailableError
from headrace.transport.replies.stream import ReplyStream
from headrace.transport.tasks import TaskOwner


class Relay(Protocol):
    """A way round the broker that knows how many listen."""

    async def publish(self, channel: str, data: bytes) -> int:
        """Publish, and return how many got it.

        Raises:
            TransportUnavailableError: the relay does not answer.
        """
        ...


Encode = Callable[[Sequence[ReplyStream], Sequence[ReplyItem]], bytes]
OnRelayed = Callable[[str, Sequence[ReplyStream], Sequence[ReplyItem], int | None], None]


class RelayPump:
    """Publishes what it is given, in a task of its own that ends when there is nothing left.

    Args:
        relay: the way.
        encode: makes a batch of what streams have to tell, and of what is said beside them; empty for nothing.
        on_relayed: learns the address, the streams of a batch, what was said beside them, and how many got it; None
            where the relay failed.
        on_idle: called when there is nothing left.
    """

    def __init__(self, relay: Relay, *, encode: Encode, on_relayed: OnRelayed, on_idle: Callable[[], None]) -> None:
        self._relay = relay
        self._encode = encode
        self._on_relayed = on_relayed
        self._on_idle = on_idle
        self._is_running = False
        self._tasks = TaskOwner()
        self._waiting: dict[str, dict[ReplyStream, None]] = {}
        self._statements: dict[str, list[ReplyItem]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether everything was handed over."""
        return not self._is_running

    def add(self, address: str, streams: Iterable[ReplyStream], statements: Iterable[ReplyItem]) -> None:
        """Take streams that have something to tell, and what is said beside them."""
        self._waiting.setdefault(address, {}).update(dict.fromkeys(streams))
        self._statements.setdefault(address, []).extend(statements)
        if not self._is_running:
            self._is_running = True
            self._tasks.start(self._run(), name="reply relay")

    async def close(self) -> None:
        """Stop; what waits is not sent."""
        await self._tasks.close()

    async def _run(self) -> None:
        try:
            while self._waiting:
                address = next(iter(self._waiting))
                await self._publish(address, list(self._waiting.pop(address)))
        finally:
            self._is_running = False
        self._on_idle()

    async def _publish(self, address: str, streams: Sequence[ReplyStream]) -> None:
        statements = self._statements.pop(address, ())
        body = self._encode(streams, statements)
        if not body:
            return
        try:
            heard = await self._relay.publish(reply_channel(address), body)
        except TransportUnavailableError:
            self._on_relayed(address, streams, statements, None)
        else:
            self._on_relayed(address, streams, statements, heard)

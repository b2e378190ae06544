# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""One asyncio connection to RabbitMQ that comes back by itself, with pika's callbacks made awaitable.

pika is untyped here and there; what leaves this module is typed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pika
import structlog
from pika.channel import Channel
from pika.exceptions import AMQPError

from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq.refusal import explain_refusal
from headrace.transport.rabbitmq.services import LoopServices, OnePieceConnection
from headrace.transport.tasks import TaskOwner

FIRST_PAUSE_SECONDS = 0.1
# Somebody has to do something about a queue with other arguments; until then it is said this often.
REFUSED_PAUSE_SECONDS = 10.0
SETUP_TIMEOUT_SECONDS = 10.0
WRITE_BUFFER_LIMIT_BYTES = 1024 * 1024

_log = structlog.get_logger("headrace.rabbitmq")
_T = TypeVar("_T")

Setup = Callable[["RabbitmqLink"], Awaitable[None]]


class RabbitmqLink:
    """Keeps one connection open.

    Args:
        parameters: where to.
        setup: declares and consumes on each new connection; the link is ready when it returns.
        on_lost: called each time a connection that was ready is gone.
        on_blocked: called with True when the broker takes no more messages, and with False when it does again.
        longest_pause_seconds: between two tries; the first pauses are shorter.
        on_ready: called each time a connection is set up.
    """

    def __init__(
        self,
        parameters: pika.URLParameters,
        *,
        setup: Setup,
        on_lost: Callable[[], None],
        on_blocked: Callable[[bool], None],
        longest_pause_seconds: float,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._parameters = parameters
        self._setup = setup
        self._on_lost = on_lost
        self._on_blocked = on_blocked
        self._on_ready = on_ready
        self._longest_pause_seconds = longest_pause_seconds
        self._tasks = TaskOwner()
        self._connection: OnePieceConnection | None = None
        self._closed: asyncio.Future[str] | None = None
        self._ready = asyncio.Event()
        self._blocked = False
        self._closing = False
        self._failure = ""
        self._refusal = ""
        self._reason = "not connected yet"

    def start(self) -> None:
        """Begin to connect."""
        self._tasks.start(self._run(), name="rabbitmq link")

    @property
    def is_ready(self) -> bool:
        """Whether the connection is set up and the broker takes messages."""
        return self._ready.is_set() and not self._blocked

    @property
    def is_writable(self) -> bool:
        """Whether it is ready and what was written before has mostly left."""
        if not self.is_ready or self._connection is None:
            return False
        connection: Any = self._connection
        transport = connection._transport  # noqa: SLF001 - pika shows its write buffer nowhere else
        return transport is not None and bool(transport.get_write_buffer_size() < WRITE_BUFFER_LIMIT_BYTES)

    async def wait_ready(self) -> None:
        """Wait until the connection is set up."""
        await self._ready.wait()

    def check(self) -> None:
        """Raise TransportUnavailableError, with the reason, unless the link is ready."""
        if self._blocked:
            raise TransportUnavailableError("RabbitMQ has blocked publishers (memory or disk alarm)")
        if not self._ready.is_set():
            raise TransportUnavailableError(f"RabbitMQ is not connected: {self._reason}")

    async def open_channel(self) -> Channel:
        """Open a channel on the current connection."""
        if self._connection is None:
            raise TransportUnavailableError("RabbitMQ is not connected")
        connection = self._connection
        return await self.call(lambda done: connection.channel(on_open_callback=done))

    async def call(self, start: Callable[[Callable[[Any], None]], Any]) -> Any:
        """Start a pika operation and await its callback; fail if the connection closes first."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(value: Any) -> None:
            if not result.done():
                result.set_result(value)

        start(done)
        if self._closed is None:
            raise TransportUnavailableError("RabbitMQ is not connected")
        await asyncio.wait({result, self._closed}, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise TransportUnavailableError(f"RabbitMQ closed the connection: {self._closed.result()}")
        return result.result()

    @property
    def server_properties(self) -> Mapping[str, Any]:
        """What the broker says about itself; nothing while there is no connection."""
        return (self._connection.server_properties if self._connection is not None else None) or {}

    def lose_channel(self, _channel: Channel, error: Exception) -> None:
        """Learn that a channel was closed, and give up the connection for a new one."""
        self._refusal = self._refusal or explain_refusal(error) or ""
        self.fail(self._refusal or f"channel closed: {error}")

    def fail(self, reason: str) -> None:
        """Give up the current connection, because something on it can't go on; a new one follows."""
        if self._connection is not None and self._connection.is_open:
            self._failure = self._failure or reason
            self._connection.close(reply_code=200, reply_text=reason[:200])

    async def close(self) -> None:
        """Close the connection for good."""
        self._closing = True
        if self._connection is not None and self._connection.is_open and self._closed is not None:
            self._connection.close()
            await asyncio.wait({self._closed}, timeout=2.0)
        await self._tasks.close()

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._closing:
            if await self._live_once():
                pause = FIRST_PAUSE_SECONDS
            if self._closing:
                return
            await asyncio.sleep(REFUSED_PAUSE_SECONDS if self._refusal else pause)
            pause = min(pause * 2, self._longest_pause_seconds)

    async def _live_once(self) -> bool:
        """Connect, set up, and stay until the connection is gone. Tell whether it was ready."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        closed: asyncio.Future[str] = loop.create_future()
        self._closed, self._blocked = closed, False
        self._failure = self._refusal = ""

        def on_open(_connection: Any) -> None:
            if not opened.done():
                opened.set_result(None)

        def on_close(_connection: Any, error: BaseException) -> None:
            if not closed.done():
                closed.set_result(describe_failure(error))

        services: Any = LoopServices(loop, self._tasks)
        try:
            self._connection = connection = OnePieceConnection(
                parameters=self._parameters,
                on_open_callback=on_open,
                on_open_error_callback=on_close,
                on_close_callback=on_close,
                custom_ioloop=services,
            )
            connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(blocked=True))
            connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(blocked=False))
            await asyncio.wait({opened, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not closed.done():
                await self._set_up()
            reason = await closed
        except (OSError, AMQPError, TransportUnavailableError) as error:
            reason = describe_failure(error)
        finally:
            was_ready = self._ready.is_set()
            self._ready.clear()
            self._abandon()
        # What we closed it for says more than that we closed it.
        reason = self._failure or reason
        if was_ready:
            self._on_lost()
        if self._refusal:
            _log.error("queue refused", reason=reason)
        elif not self._closing and (was_ready or reason != self._reason):
            # Said once for each reason: a broker that stays away would fill the log.
            _log.warning("broker connection lost" if was_ready else "broker not reached", reason=reason)
        self._reason = reason
        return was_ready

    async def _set_up(self) -> None:
        try:
            async with asyncio.timeout(SETUP_TIMEOUT_SECONDS):
                await self._setup(self)
        except TimeoutError:
            raise TransportUnavailableError("RabbitMQ did not answer while queues were declared") from None
        self._ready.set()
        self._reason = ""
        _log.info("broker connected")
        self._on_ready()

    def _set_blocked(self, *, blocked: bool) -> None:
        self._blocked = blocked
        _log.warning("broker blocked publishers" if blocked else "broker unblocked publishers")
        self._on_blocked(blocked)

    def _abandon(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            connection.close()


def describe_failure(error: BaseException) -> str:
    """Say why a connection failed, in one line, without credentials."""
    causes: list[BaseException] = [error]
    while (inner := _inner_failure(causes[-1])) is not None and inner not in causes:
        causes.append(inner)
    last = causes[-1]
    return str(last) or type(last).__name__


def _inner_failure(error: BaseException) -> BaseException | None:
    # pika wraps a failed connect several times over, and keeps the cause in attributes or in the arguments.
    causes: list[Any] = [getattr(error, "exception", None)]
    causes += [*getattr(error, "exceptions", ())][-1:]
    causes += error.args[:1]
    return next((cause for cause in causes if isinstance(cause, BaseException)), None)

"""The answer as a stream of server-sent events.

Litestar's own response for streams closes its iterator only when the loop happens to collect it, if the client leaves
while `send` waits for it to read. This one reads the generation itself, so closing it does not depend on that.

The status line waits for the first frame, or for `header_wait_seconds`, whichever comes first: a generation that fails
early is answered with its own HTTP status, and a client that waits in the queue still gets its headers.

A stream without events sends comments, which every client of such streams skips: they keep proxies awake, and say how
the generation waits while it does.
"""

import asyncio
import math
from collections.abc import Sequence

from litestar.types import Receive, Scope, Send

from headrace.gateway.call import Call, Submits
from headrace.gateway.failure import event_of_failure, failure_of_event
from headrace.gateway.reading import ClientLeftError, next_batch
from headrace.gateway.response import GenerationResponse
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation
from headrace.schema.events import Event, GenerationFailed, GenerationQueued, SequenceDelta, is_terminal
from headrace.schema.settings import GatewaySettings

STUCK_SECONDS = 60.0
KEEPALIVE = b": keepalive\n\n"
_MEDIA_TYPE = "text/event-stream"
_HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    # nginx would otherwise collect the stream in a buffer.
    "X-Accel-Buffering": "no",
}


class EventStreamResponse(GenerationResponse):
    """Sends each batch of events when it comes, as one piece of ready bytes.

    Args:
        call: the call to answer.
        source: takes its submission.
        settings: the two waits.
    """

    _should_set_content_length = False

    def __init__(self, call: Call, source: Submits, settings: GatewaySettings) -> None:
        super().__init__(call, source, media_type=_MEDIA_TYPE, headers=_HEADERS)
        self._header_wait_seconds = settings.header_wait_seconds
        self._keepalive_seconds = settings.keepalive_seconds
        self._loop = asyncio.get_running_loop()
        self._generation: Generation | None = None
        self._begun = False
        self._started = asyncio.Event()
        self._sending = False
        self._send_began_at = self._last_sent_at = self._loop.time()

    async def read(self, generation: Generation, send: Send) -> None:
        """Send frames until the terminal event, or set `failure` if there was no frame before it."""
        self._generation = generation
        ended = False
        while not ended:
            batch = await next_batch(generation)
            frames, batch = self._render(batch)
            ended = is_terminal(last := batch[-1])
            self.call.note(batch)
            if not self._begun:
                self.say_route(generation, batch)
            if isinstance(last, GenerationFailed) and not self._begun and not _has_text(batch):
                self.failure = failure_of_event(last)
            elif frames or ended:
                if ended:
                    await self.conclude()
                await self._send(send, frames, more=not ended)
            elif isinstance(last, GenerationQueued) and self._begun:
                # It asked, and its dialect has no word for the answer.
                await self._send(send, describe_wait(last), more=True)

    async def conclude(self) -> None:
        """Do what must be done before the client has the last frame; nothing, unless a dialect keeps its answers."""

    def _render(self, batch: Sequence[Event]) -> tuple[bytes, Sequence[Event]]:
        """Return the frames of a batch, and the batch: another one, if the rendering fails."""
        rendering = self.call.order.rendering
        try:
            return rendering.render_events(batch), batch
        except Exception as error:  # noqa: BLE001 - an edge: no stream may just stop
            failure = report_unexpected(error, request_id=self.call.order.submission.request_id)
            batch = (event_of_failure(failure),)
            return rendering.render_events(batch), batch

    async def _send(self, send: Send, frames: bytes, *, more: bool) -> None:
        self._sending = True
        self._send_began_at = self._loop.time()
        if not self._started.is_set():
            await self._begin(send)
        await send({"type": "http.response.body", "body": frames, "more_body": more})
        self._last_sent_at = self._loop.time()
        self._sending = False

    async def _begin(self, send: Send) -> None:
        """Send the headers once, whichever of the two tasks comes first; the other waits until they are out."""
        if self._begun:
            await self._started.wait()
            return
        self._begun = True
        await self.start_response(send)
        self._last_sent_at = self._loop.time()
        self._started.set()

    async def tick(self, send: Send) -> float:
        """Send the headers, or a comment, when it is time to; return when it will be."""
        now = self._loop.time()
        if not self._begun:
            due = self._last_sent_at + self._header_wait_seconds
            if now < due:
                return due
            await self._begin(send)
        elif self._sending and now >= self._send_began_at + STUCK_SECONDS:
            # It reads nothing: its connection would be held beyond every deadline.
            raise ClientLeftError
        # A comment behind a frame that waits for the client would keep nothing awake.
        elif not self._sending and now >= self._last_sent_at + self._keepalive_seconds:
            await send({"type": "http.response.body", "body": self._make_comment(), "more_body": True})
            self._last_sent_at = self._loop.time()
        return max(self._last_sent_at, now) + self._keepalive_seconds

    def _make_comment(self) -> bytes:
        queued = None if self._generation is None else self._generation.queued
        return KEEPALIVE if queued is None else describe_wait(queued)

    async def finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing is left to send."""


def describe_wait(queued: GenerationQueued) -> bytes:
    """Return a comment that says how a generation waits."""
    eta = "" if queued.eta_seconds is None else f" eta_seconds={math.ceil(queued.eta_seconds)}"
    return f": queued position={queued.position}{eta}\n\n".encode()


def _has_text(batch: Sequence[Event]) -> bool:
    """Tell whether a part of an answer is in a batch: a client is not kept from it because its end came with it."""
    return any(type(event) is SequenceDelta for event in batch)

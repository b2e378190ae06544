"""One client's request, asked to its end at whichever gateway is there, as the documents tell clients to.

A retained generation is taken up at another gateway when the one that streamed it is killed. One that is not retained
ends with its gateway, by promise, and is asked for again; nothing else may break.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

import httpx
import msgspec

from tests.chaos.answer import Answer, Frame
from tests.chaos.gateways import Gateway, choose
from tests.chaos.orders import Order

REFUSED_PAUSE_SECONDS = 0.3


async def ask(client: httpx.AsyncClient, gateways: Sequence[Gateway], order: Order, *, model: str) -> Answer:
    """Ask, and read the answer to its end."""
    asking = Asking(client, gateways, order, model=model)
    try:
        async with asyncio.timeout(order.timeout_seconds):
            await asking.run()
    except TimeoutError:
        asking.answer.is_hung = True
    return asking.answer


class Asking:
    """One request, in as many calls as it takes.

    Args:
        client: sends them.
        gateways: to these.
        order: what is asked.
        model: of whom.

    Attributes:
        answer: what has come so far.
    """

    def __init__(self, client: httpx.AsyncClient, gateways: Sequence[Gateway], order: Order, *, model: str) -> None:
        self.answer = Answer()
        self._client = client
        self._gateways = gateways
        self._order = order
        self._model = model
        self._key = uuid4().hex
        self._calls = 0
        self._kills = self._count_kills()

    def _count_kills(self) -> int:
        return sum(gateway.kills for gateway in self._gateways)

    async def run(self) -> None:
        """Call until the answer has ended, well or not."""
        while not self.answer.is_over:
            gateway = choose(self._gateways, self._order.number + self._calls)
            kills = gateway.kills
            self._calls += 1
            try:
                await self._call(gateway)
            except httpx.HTTPError as error:
                if gateway.kills == kills:
                    self.answer.failure = type(error).__name__
                elif self._order.is_retained:
                    self.answer.taken_up += 1
                else:
                    self.answer.ended_with_gateway += 1
                    self.answer.give_up()

    async def _call(self, gateway: Gateway) -> None:
        order, answer = self._order, self.answer
        url = f"{gateway.address}/v1/generations"
        if order.is_retained and answer.request_id:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": answer.place} if answer.place else {})
            call = self._client.stream("GET", f"{url}/{answer.request_id}", headers=headers)
        else:
            call = self._client.stream(
                "POST", url, json=order.body(self._model), headers=order.headers(idempotency_key=self._key)
            )
        async with call as response:
            if response.status_code == 200:
                answer.request_id = response.headers["headrace-request-id"]
                await self._read(response)
            else:
                await self._take_refusal(response)

    async def _take_refusal(self, response: httpx.Response) -> None:
        error = msgspec.json.decode(await response.aread() or b"{}").get("error", {})
        if self._order.is_retained and response.status_code == 503 and "Redis" in error.get("message", ""):
            # Nothing can be retained, or taken up, while Redis is away: a client waits, and comes again.
            self.answer.refused += 1
            await asyncio.sleep(REFUSED_PAUSE_SECONDS)
        else:
            self.answer.failure = f"status {response.status_code} {error.get('code')}"

    async def _read(self, response: httpx.Response) -> None:
        answer, last = self.answer, time.monotonic()
        async for frame in _frames(response):
            now = time.monotonic()
            if frame.has_text:
                if answer.texts:
                    answer.longest_gap_seconds = max(answer.longest_gap_seconds, now - (answer.last_text_at or last))
                answer.last_text_at = now
            answer.take(frame)
        if not answer.is_over:
            answer.failure = "cut"
        elif self._may_ask_again():
            answer.give_up()

    def _may_ask_again(self) -> bool:
        """Tell whether it ended because its gateway was killed before the task was sent: its key is free again."""
        answer = self.answer
        is_lost = answer.failure == "stream_broken" and answer.is_retryable and not answer.texts
        return is_lost and self._order.is_retained and self._count_kills() > self._kills


async def _frames(response: httpx.Response) -> AsyncGenerator[Frame]:
    # Not by lines: what counts as the end of one may be part of a text.
    rest = b""
    async for piece in response.aiter_raw():
        *whole, rest = (rest + piece).split(b"\n\n")
        for frame in whole:
            if not frame.startswith(b":"):
                fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
                yield Frame(fields[b"id"].decode(), msgspec.json.decode(fields[b"data"])["events"])

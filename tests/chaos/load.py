"""Clients that ask one thing after the other."""

import asyncio
import threading
from collections.abc import Mapping, Sequence

import httpx

from tests.chaos.answer import Answer, Verdict, judge
from tests.chaos.client import ask
from tests.chaos.gateways import Gateway
from tests.chaos.orders import Order
from tests.support.processes import MODEL

# Of one connection; each order says how long it waits for the whole.
LONGEST_SILENCE_SECONDS = 300.0

Texts = Mapping[int, str]


class Load:
    """Clients in a thread of their own: the main thread breaks things, and nodes end with the thread that starts them.

    Args:
        gateways: who is asked.
        orders: what is asked.
        expected: what each sequence of each order must say; by the number of the order.
        clients: at once.
        key: of all of them.

    Attributes:
        done: what came back, and what is to be said of it.
        thread: lives until all is answered.
    """

    def __init__(
        self,
        gateways: Sequence[Gateway],
        orders: Sequence[Order],
        *,
        expected: Mapping[int, Texts],
        clients: int,
        key: str,
    ) -> None:
        self.done: list[tuple[Order, Answer, Verdict]] = []
        self._gateways = gateways
        self._waiting = list(reversed(orders))
        self._expected = expected
        self._clients = clients
        self._key = key
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        async with open_client(self._key, connections=self._clients) as client, asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._ask_on(client))

    async def _ask_on(self, client: httpx.AsyncClient) -> None:
        while self._waiting:
            order = self._waiting.pop()
            answer = await ask(client, self._gateways, order, model=MODEL)
            self.done.append((order, answer, judge(order, answer, self._expected[order.number])))


def open_client(key: str, *, connections: int) -> httpx.AsyncClient:
    """Return a client with a key.

    It keeps no connection: how one breaks that a gateway held which was killed meanwhile says nothing.
    """
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(limits=limits, timeout=LONGEST_SILENCE_SECONDS, headers=headers)


def listen(gateways: Sequence[Gateway], orders: Sequence[Order], key: str) -> list[tuple[Order, Answer]]:
    """Return what undisturbed answers say.

    Raises:
        RuntimeError: there was none.
    """

    async def ask_all() -> list[tuple[Order, Answer]]:
        heard: list[tuple[Order, Answer]] = []
        async with open_client(key, connections=1) as client:
            for order in orders:
                answer = await ask(client, gateways, order, model=MODEL)
                if answer.output_tokens is None:
                    raise RuntimeError(f"{order} was not answered before anything broke: {answer.failure}")
                heard.append((order, answer))
        return heard

    return asyncio.run(ask_all())

"""One client's request, read to its end, and what is to be said of the answer."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

import httpx
import msgspec
from msgspec import Struct

from tests.chaos.orders import Order

Verdict = Literal["whole", "lost", "doubled", "reordered", "hung", "miscounted", "diverged"]


class Answer(Struct, kw_only=True):
    """What came back.

    Attributes:
        texts: of each sequence.
        kinds: how often each event came, by its type and sequence.
        output_tokens: as the usage says.
        failure: the code of a failure.
        longest_gap_seconds: between two frames with text.
        is_hung: no end came in time.
    """

    texts: dict[int, str] = {}
    kinds: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter[tuple[str, int]])
    output_tokens: int | None = None
    failure: str | None = None
    longest_gap_seconds: float = 0.0
    is_hung: bool = False

    def take(self, event: dict[str, Any]) -> None:
        """Add an event of the stream."""
        kind, index = event["type"], event.get("index", -1)
        if kind == "sequence_delta":
            self.texts[index] = self.texts.get(index, "") + event["text"]
            return
        self.kinds[kind, index] += 1
        if kind == "generation_finished":
            self.output_tokens = event["usage"]["output_tokens"]
        elif kind == "generation_failed":
            self.failure = event["error"]["code"]


async def ask(client: httpx.AsyncClient, address: str, order: Order, *, model: str) -> Answer:
    """Ask, and read the answer to its end."""
    answer = Answer()
    try:
        async with asyncio.timeout(order.timeout_seconds):
            await _read(client, address, order, answer, model=model)
    except TimeoutError:
        answer.is_hung = True
    except httpx.HTTPError as error:
        answer.failure = type(error).__name__
    return answer


async def _read(client: httpx.AsyncClient, address: str, order: Order, answer: Answer, *, model: str) -> None:
    last = time.monotonic()
    url, headers = f"{address}/v1/generations", {"Headrace-Lane": order.lane}
    async with client.stream("POST", url, json=order.body(model), headers=headers) as response:
        if response.status_code != 200:
            answer.failure = f"status {response.status_code}"
            return
        async for events in _frames(response):
            now = time.monotonic()
            if any(event["type"] == "sequence_delta" for event in events):
                if answer.texts:
                    answer.longest_gap_seconds = max(answer.longest_gap_seconds, now - last)
                last = now
            for event in events:
                answer.take(event)


async def _frames(response: httpx.Response) -> AsyncGenerator[list[dict[str, Any]]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield msgspec.json.decode(line.removeprefix("data: "))["events"]


def judge(order: Order, answer: Answer, expected: Mapping[int, str]) -> Verdict:
    """Say what is wrong with an answer, if anything is.

    Args:
        order: what was asked.
        answer: what came.
        expected: what each sequence must say.
    """
    if answer.is_hung:
        return "hung"
    if answer.failure is not None or answer.output_tokens is None:
        return "lost"
    if any(count > 1 for count in answer.kinds.values()):
        return "doubled"
    if answer.output_tokens != order.tokens * order.sequences:
        return "miscounted"
    for index in range(order.sequences):
        verdict = _judge_text(order, expected[index], answer.texts.get(index, ""))
        if verdict != "whole":
            return verdict
    return "whole"


def _judge_text(order: Order, expected: str, text: str) -> Verdict:
    if text == expected:
        return "whole"
    if order.engine == "vllm":
        # The numbers of a batch depend on who else is in it: see the report.
        return "diverged"
    if len(text) > len(expected):
        return "doubled"
    return "reordered" if sorted(text) == sorted(expected) else "lost"

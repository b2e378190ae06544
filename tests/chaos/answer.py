"""What came back for one request, and what is to be said of it."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tests.chaos.orders import Order

Verdict = Literal["whole", "lost", "doubled", "reordered", "hung", "miscounted", "diverged"]


class Frame(Struct, frozen=True):
    """One frame of a native stream.

    Attributes:
        place: its id.
        events: what it carries.
    """

    place: str
    events: list[dict[str, Any]]

    @property
    def has_text(self) -> bool:
        """Whether an answer grows by it."""
        return any(event["type"] == "sequence_delta" for event in self.events)


class GivenUp(Struct, frozen=True):
    """A call that ended with its gateway, and was made again.

    Attributes:
        request_id: what it was called; empty if that was not known yet.
        had_text: whether anything of an answer had come.
    """

    request_id: str
    had_text: bool


class Answer(Struct, kw_only=True):
    """What came back.

    Attributes:
        request_id: of the generation; empty until a gateway has said it.
        place: the id of the last frame; empty before the first.
        texts: of each sequence.
        token_ids: how many each sequence had, where they were asked for.
        kinds: how often each event came, by its type and sequence.
        output_tokens: as the usage says.
        failure: the code of a failure.
        is_retryable: whether the failure said so.
        last_text_at: when the last frame with text came, monotonic seconds.
        longest_gap_seconds: between two frames with text, also of two gateways.
        is_hung: no end came in time.
        taken_up: calls that broke with their gateway and were gone on with at another.
        ended_with_gateway: calls that broke with their gateway and were made again.
        refused: calls that were refused because Redis was away, and were made again.
        given_up: calls of which nothing counts any more.
    """

    request_id: str = ""
    place: str = ""
    texts: dict[int, str] = {}
    token_ids: Counter[int] = msgspec.field(default_factory=Counter[int])
    kinds: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter[tuple[str, int]])
    output_tokens: int | None = None
    failure: str | None = None
    is_retryable: bool = False
    last_text_at: float | None = None
    longest_gap_seconds: float = 0.0
    is_hung: bool = False
    taken_up: int = 0
    ended_with_gateway: int = 0
    refused: int = 0
    given_up: list[GivenUp] = []

    @property
    def is_over(self) -> bool:
        """Whether the end has come."""
        return self.output_tokens is not None or self.failure is not None

    def take(self, frame: Frame) -> None:
        """Add a frame of the stream."""
        self.place = frame.place
        for event in frame.events:
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        kind, index = event["type"], event.get("index", -1)
        if kind == "sequence_delta":
            self.texts[index] = self.texts.get(index, "") + event["text"]
            self.token_ids[index] += len(event.get("token_ids", ()))
            return
        self.kinds[kind, index] += 1
        if kind == "generation_finished":
            self.output_tokens = event["usage"]["output_tokens"]
        elif kind == "generation_failed":
            self.failure, self.is_retryable = event["error"]["code"], event["error"]["retryable"]

    def give_up(self) -> None:
        """Begin again: what came so far was for nothing."""
        self.given_up.append(GivenUp(self.request_id, bool(self.texts)))
        self.request_id = self.place = ""
        self.texts, self.token_ids, self.kinds = {}, Counter(), Counter()
        self.output_tokens = self.failure = self.last_text_at = None


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
        if order.shows_token_ids and answer.token_ids[index] != order.tokens:
            return "miscounted"
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

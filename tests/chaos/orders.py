"""What the clients ask, and what they must be told.

The scripted engine's words are known beforehand. vLLM's are not: what it says is asked for once before anything breaks,
and whoever is asked again must say the same. Its model has random weights, so that the slightest difference in its
state makes it say something else.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from headrace.schema.names import Lane
from headrace.worker.engines.scripted.tokens import WORDS, generate_tokens
from tests.support.processes import EngineKind

# An engine that starts takes a while, on a machine that is as busy as this.
DEADLINE_SECONDS: dict[EngineKind, float] = {"scripted": 90.0, "vllm": 240.0}
# A client loses its patience so long after the deadline, so that it is told why.
PATIENCE_SECONDS = 30.0
# So many different orders are made for vLLM: each is asked once undisturbed, and often afterwards.
DISTINCT = 40


class Order(Struct, frozen=True, kw_only=True):
    """What to ask.

    Attributes:
        number: of the order.
        tokens: that each sequence says.
        sequences: how many.
        seed: chooses the words.
        engine: who answers.
        lane: through which it goes.
        is_retained: it outlives its gateway.
    """

    number: int
    tokens: int
    sequences: int
    seed: int
    engine: EngineKind = "scripted"
    lane: Lane = "online"
    is_retained: bool = False

    @property
    def timeout_seconds(self) -> float:
        """After which an answer counts as hung."""
        return DEADLINE_SECONDS[self.engine] + PATIENCE_SECONDS

    @property
    def shows_token_ids(self) -> bool:
        """Whether the tokens are asked for, and not only the text."""
        return self.number % 2 == 0

    def headers(self, *, idempotency_key: str) -> dict[str, str]:
        """Return the headers of the call; the key is sent if it is retained."""
        headers = {"Headrace-Lane": self.lane, "Headrace-Timeout-Seconds": f"{DEADLINE_SECONDS[self.engine]:g}"}
        return headers | ({"Idempotency-Key": idempotency_key} if self.is_retained else {})

    def body(self, model: str) -> dict[str, Any]:
        """Return the body of a native request."""
        parameters: dict[str, Any] = {"n": self.sequences, "seed": self.seed}
        if self.engine == "scripted":
            parameters["provider_extensions"] = {"scripted": {"tokens": self.tokens}}
        else:
            parameters |= {"max_tokens": self.tokens, "ignore_eos": True, **self._sampling()}
        return {
            "model": model,
            "messages": [{"role": "user", "content": f"chaos {self.number}"}],
            "stream": True,
            "output": {"usage": True, "token_ids": self.shows_token_ids},
            "generation_parameters": parameters,
        }

    def _sampling(self) -> dict[str, Any]:
        """Return one of the kinds of sampling whose state a worker must bring back."""
        return (
            {"temperature": 0.0},
            {"temperature": 1.0},
            {"temperature": 0.8, "top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.5},
        )[self.number % 3]

    def words(self) -> dict[int, str]:
        """Return what each sequence of the scripted engine must say."""
        return {
            index: "".join(generate_tokens(self.tokens, (self.seed + index) % len(WORDS)))
            for index in range(self.sequences)
        }


def make_orders(count: int, dice: random.Random, *, engine: EngineKind = "scripted") -> list[Order]:
    """Return what is asked: short and long answers, one and several sequences."""
    distinct = [_make_order(number, dice, engine) for number in range(count if engine == "scripted" else DISTINCT)]
    return [distinct[i % len(distinct)] for i in range(count)]


def _make_order(number: int, dice: random.Random, engine: EngineKind) -> Order:
    return Order(
        number=number,
        tokens=dice.choice((5, 40, 150, 400)),
        sequences=dice.choice((1, 1, 1, 3)),
        seed=dice.randrange(2**31),
        engine=engine,
        lane=dice.choice(("online", "online", "batch")),
        is_retained=dice.choice((True, False)),
    )


def expected_of(orders: Sequence[Order]) -> Mapping[int, dict[int, str]]:
    """Return what the answers to orders of the scripted engine are, by the number of the order."""
    return {order.number: order.words() for order in orders}

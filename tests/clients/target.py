"""A server as a client's configuration names it."""

import anthropic
import openai
from msgspec import Struct

from tests.support.serving import Serving, metric, wait_metric

KEY = "key-of-the-clients"
GENERATIONS = "headrace_worker_generations_total"


class Target(Struct, frozen=True, kw_only=True):
    """What a client is told.

    Attributes:
        server: the running server.
        model: the model that it serves.
        key: what it wants to see.
    """

    server: Serving
    model: str
    key: str = "none"

    @property
    def openai_url(self) -> str:
        return f"{self.server.address}/v1"

    @property
    def is_scripted(self) -> bool:
        return self.model.startswith("scripted")

    def open_openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.openai_url, api_key=self.key, max_retries=0)

    def open_async_openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.openai_url, api_key=self.key, max_retries=0)

    def open_anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.server.address, api_key=self.key, max_retries=0)

    def open_async_anthropic(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.server.address, api_key=self.key, max_retries=0)

    def cancelled(self) -> float:
        """Return how many generations the worker has cancelled."""
        return metric(self.server.address, GENERATIONS, key=self.key, outcome="cancelled")

    def wait_cancelled(self, at_least: float) -> None:
        """Wait until the worker has cancelled so many."""
        wait_metric(self.server.address, GENERATIONS, at_least, key=self.key, outcome="cancelled")

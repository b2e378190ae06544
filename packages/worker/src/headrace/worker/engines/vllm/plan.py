"""What a job asks of the engine: prompts, the requests for them, and what reads the answers."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from headrace.worker.engines.vllm.fold import PromptShape, Unit
from headrace.worker.engines.vllm.prompt.renderer import RenderedPrompt
from headrace.worker.engines.vllm.reading.base import Reader


class EngineRequest(Struct, frozen=True, kw_only=True):
    """One request to vLLM.

    Attributes:
        unit: which sequences of the job it is for.
        prompt: what it asks.
        arguments: of `SamplingParams`.
        thinks_first: its constraint begins where the engine finds the end of the reasoning.
    """

    unit: Unit
    prompt: RenderedPrompt
    arguments: dict[str, Any]
    thinks_first: bool = False


class JobPlan(Struct, frozen=True, kw_only=True):
    """A job.

    Attributes:
        prompts: what is known of its prompts.
        requests: to the engine; none where only the prompts are counted.
        make_reader: makes the reader of a sequence; None where its text is the answer as it is.
    """

    prompts: Sequence[PromptShape]
    requests: Sequence[EngineRequest]
    make_reader: Callable[[int], Reader] | None = None

    @property
    def input_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(len(prompt.token_ids) for prompt in self.prompts)

"""Beginning a search: from a request's arguments to a run."""

from typing import Any

from msgspec import Struct

from headrace.schema.request import GenerationParameters
from headrace.worker.engines.vllm.beam.grammar import Constraint
from headrace.worker.engines.vllm.beam.masks import mask_of
from headrace.worker.engines.vllm.beam.parts import BeamParts
from headrace.worker.engines.vllm.beam.plan import BeamPlan, plan_beams
from headrace.worker.engines.vllm.beam.runner import BeamRun, StepEngine
from headrace.worker.engines.vllm.beam.search import Expansion
from headrace.worker.engines.vllm.beam.streams import AnswerStream


class BeamTask(Struct, frozen=True, kw_only=True):
    """One prompt to search for.

    Attributes:
        request_id: unique among the requests that run.
        prompt_token_ids: the prompt.
        parameters: of the request; they ask for beam search.
        arguments: of vLLM's `SamplingParams`, as they would be for sampling.
        top_logprobs: alternatives that each token is shown beside; None shows no log probabilities.
    """

    request_id: str
    prompt_token_ids: list[int]
    parameters: GenerationParameters
    arguments: dict[str, Any]
    top_logprobs: int | None = None


async def open_search(parts: BeamParts, engine: StepEngine[Any], task: BeamTask) -> BeamRun:
    """Return the run of a search, which has asked the engine for nothing yet.

    Raises:
        HeadraceError: `unsupported_parameter`, `invalid_request`: it can't be searched for like this.
        ValueError: vLLM refuses a parameter.
        TypeError: vLLM refuses a parameter.
    """
    plan = plan_beams(
        task.parameters,
        task.arguments,
        end_token_ids=parts.end_token_ids,
        vocabulary_size=parts.vocabulary_size,
        top_logprobs=task.top_logprobs,
    )
    constraint = await _open_constraint(parts, plan, task)

    def open_stream(index: int) -> AnswerStream:
        text = parts.open_text(task.prompt_token_ids, plan.text, request_id=task.request_id)
        return AnswerStream(index, text, None if plan.top_logprobs is None else show)

    def show(token_id: int, place: Expansion) -> Any:
        return parts.show_place(token_id, place, count=plan.top_logprobs or 0)

    decode = parts.decoder(skip_special_tokens=plan.text.get("skip_special_tokens", True))
    return BeamRun(engine, plan, constraint=constraint, decode=decode, open_stream=open_stream)


async def _open_constraint(parts: BeamParts, plan: BeamPlan, task: BeamTask) -> Constraint:
    stopping = plan.ends.stopping_token_ids
    checked = parts.check(task.arguments)
    grammar = None
    if plan.structured_outputs is not None:
        grammar = await parts.compile_grammar(checked.structured_outputs, stop_token_ids=stopping)
    allowed = plan.allowed_token_ids
    return Constraint(
        grammar,
        None if allowed is None else mask_of(allowed, vocabulary_size=parts.vocabulary_size),
        stopping_token_ids=stopping,
        min_tokens=plan.ends.min_tokens,
    )

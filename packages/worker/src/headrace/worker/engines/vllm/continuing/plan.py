"""From the requests of a job, and what was told of it, to the requests that go on with it."""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct, structs

from headrace.schema.control import ToldSequence
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.vllm.continuing.head import find_head, has_state
from headrace.worker.engines.vllm.continuing.names import REPLAY_ARGUMENT
from headrace.worker.engines.vllm.fold import Unit
from headrace.worker.engines.vllm.plan import EngineRequest, JobPlan


class Speller(Protocol):
    """Says what tokens add to a text."""

    def spell(self, prompt_ids: Sequence[int], token_ids: Sequence[int], *, skip_special: bool) -> list[str] | None:
        """Return the text that each token adds after a prompt; None for a tokenizer that can't say it."""
        ...


class ToldOutput(Struct, frozen=True, kw_only=True):
    """What a sequence had said, in the shape of a first output of the engine."""

    text: str
    token_ids: Sequence[int]
    index: int = 0
    logprobs: None = None
    finish_reason: None = None
    stop_reason: None = None


class ToldStep(Struct, frozen=True, kw_only=True):
    """A first output of the engine that the engine never gave."""

    outputs: Sequence[ToldOutput]
    finished: bool = False
    num_cached_tokens: None = None
    prompt_logprobs: None = None


class Continuation(Struct, frozen=True, kw_only=True):
    """How a job goes on.

    Attributes:
        plan: its requests.
        steps: by the number of a request, what it is to be taken to have said before its first output.
        finished_tokens: of the sequences that are not run again.
    """

    plan: JobPlan
    steps: dict[int, ToldStep]
    finished_tokens: int


def continue_plan(plan: JobPlan, told: Sequence[ToldSequence], *, speller: Speller, can_replay: bool) -> Continuation:
    """Return how a job goes on from what was told of it.

    Args:
        plan: the job as it would run from its start.
        told: by earlier attempts.
        speller: says what tokens add to a text.
        can_replay: whether the engine can be forced to say what was told.

    Raises:
        HeadraceError: `worker_lost`: it can't go on faithfully.
    """
    if not told:
        return Continuation(plan=plan, steps={}, finished_tokens=0)
    known = {sequence.index: sequence for sequence in told}
    requests: list[EngineRequest] = []
    steps: dict[int, ToldStep] = {}
    finished_tokens = 0
    for request in plan.requests:
        for each in _apart(request):
            sequence = known.get(each.unit.first_sequence)
            if sequence is not None and sequence.is_finished:
                finished_tokens += len(sequence.token_ids)
                continue
            if sequence is not None and sequence.token_ids:
                each, step = _go_on(each, sequence.token_ids, speller=speller, can_replay=can_replay)
                if step is not None:
                    steps[len(requests)] = step
            requests.append(each)
    return Continuation(plan=structs.replace(plan, requests=requests), steps=steps, finished_tokens=finished_tokens)


def _apart(request: EngineRequest) -> list[EngineRequest]:
    """Return a request for each sequence, with the seed that vLLM gives each of several."""
    count, seed = request.arguments["n"], request.arguments.get("seed")
    if count == 1:
        return [request]
    first = request.unit.first_sequence
    return [
        structs.replace(
            request,
            unit=Unit(request.unit.prompt, first + i),
            arguments=request.arguments | {"n": 1} | ({} if seed is None else {"seed": seed + i}),
        )
        for i in range(count)
    ]


def _go_on(
    request: EngineRequest, token_ids: Sequence[int], *, speller: Speller, can_replay: bool
) -> tuple[EngineRequest, ToldStep | None]:
    if not can_replay:
        message = "this worker can't go on with the answer of another one; send the request again"
        raise HeadraceError(ErrorCode.WORKER_LOST, message)
    arguments, prompt = request.arguments, request.prompt
    head, text = 0, ""
    if not has_state(arguments) and prompt.is_text:
        skips = bool(arguments.get("skip_special_tokens", True))
        pieces = speller.spell(prompt.token_ids, token_ids, skip_special=skips)
        if pieces is not None:
            head = find_head(pieces, stop=arguments.get("stop", ()))
            text = "".join(pieces[:head])
    tail = list(token_ids[head:])
    further: dict[str, Any] = {"extra_args": {REPLAY_ARGUMENT: tail}, "max_tokens": arguments["max_tokens"] - head}
    changed = structs.replace(
        request, prompt=prompt.extended(token_ids[:head]) if head else prompt, arguments=arguments | further
    )
    step = ToldStep(outputs=[ToldOutput(text=text, token_ids=token_ids[:head])]) if head else None
    return changed, step

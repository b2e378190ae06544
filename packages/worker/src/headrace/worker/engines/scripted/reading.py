"""From a job to its run: which answer of the script, to which prompts, in what form, within which limits."""

from collections.abc import Sequence

import msgspec

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import PromptEchoed, PromptEmbedded
from headrace.schema.formats import TextFormat
from headrace.schema.request import ChatCompletionRequest
from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.context import output_budget
from headrace.worker.engines.extensions import read_extension
from headrace.worker.engines.scripted.form import fit_texts, plan_calls
from headrace.worker.engines.scripted.plan import SequencePlan, plan_answer
from headrace.worker.engines.scripted.prompt import ScriptedPrompt, read_prompts
from headrace.worker.engines.scripted.resume import find_told_plans
from headrace.worker.engines.scripted.run import ScriptedRun
from headrace.worker.engines.scripted.script import Answer, Script

KIND = "scripted"


def read_job(job: EngineJob, script: Script, *, turn: int, max_model_tokens: int) -> ScriptedRun:
    """Return the run of a job.

    Args:
        job: the job.
        script: what to answer.
        turn: counts jobs.
        max_model_tokens: context, prompt and answer together.

    Raises:
        HeadraceError: it can't be run.
    """
    request = job.request
    prompts = read_prompts(request)
    answers = [_find_answer(script, request, prompt.question) for prompt in prompts]

    def plan(turn: int) -> list[SequencePlan]:
        return [
            sequence
            for prompt, answer in zip(prompts, answers, strict=True)
            for sequence in _plan_prompt(request, prompt, answer, turn=turn, max_model_tokens=max_model_tokens)
        ]

    return ScriptedRun(
        job,
        answers[0],
        plans=tuple(find_told_plans(plan, job.told, turn=turn)),
        prompts=_tell_prompts(request, prompts),
        input_tokens=sum(len(prompt.texts) for prompt in prompts),
        number=turn,
    )


def _find_answer(script: Script, request: ChatCompletionRequest, question: str) -> Answer:
    extensions = request.generation_parameters.provider_extensions
    answer = script.find_answer(question)
    override = read_extension(extensions, KIND, Answer)
    if override is None:
        return answer
    changes = {name: getattr(override, name) for name in extensions[KIND]}
    if changes.keys() & {"text", "tokens"}:
        changes = {"text": None, "tokens": None, **changes}
    return msgspec.structs.replace(answer, **changes)


def _plan_prompt(
    request: ChatCompletionRequest, prompt: ScriptedPrompt, answer: Answer, *, turn: int, max_model_tokens: int
) -> tuple[SequencePlan, ...]:
    if request.count_only:
        return ()
    if request.embedding is not None:
        _check_fits(prompt, max_model_tokens)
        return ()
    parameters = request.generation_parameters
    limit = output_budget(
        input_tokens=len(prompt.texts), max_tokens=parameters.max_tokens, max_model_tokens=max_model_tokens
    )
    calls = plan_calls(answer, request)
    is_plain = isinstance(request.response_format, TextFormat)
    if calls and (request.tool_choice.mode == "required" or (answer.text is None and answer.tokens is None)):
        texts: Sequence[str] | None = ("",)
    else:
        texts = None if is_plain else fit_texts(answer.texts, request.response_format)
    return plan_answer(answer, parameters, limit=limit, turn=turn, texts=texts, calls=calls)


def _check_fits(prompt: ScriptedPrompt, max_model_tokens: int) -> None:
    if len(prompt.texts) > max_model_tokens:
        raise HeadraceError(
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            f"the prompt has {len(prompt.texts)} tokens; this model's context has {max_model_tokens} tokens",
            param="prompts",
        )


def _tell_prompts(
    request: ChatCompletionRequest, prompts: Sequence[ScriptedPrompt]
) -> tuple[PromptEchoed | PromptEmbedded, ...]:
    if (embedding := request.embedding) is not None:
        return tuple(prompt.embed(i, dimensions=embedding.dimensions) for i, prompt in enumerate(prompts))
    output = request.output
    if not output.prompt:
        return ()
    return tuple(prompt.echo(i, top=output.prompt_logprobs) for i, prompt in enumerate(prompts))

"""From a job to its plan: everything that can be refused is refused here, before the engine knows of the job."""

from typing import Any

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.request import ChatCompletionRequest
from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.context import output_budget
from headrace.worker.engines.extensions import read_extension
from headrace.worker.engines.vllm.answer_form import (
    AnswerForm,
    check_beside_constraint,
    form_answer,
    list_allowed,
    refusal_param,
    write_form_constraint,
)
from headrace.worker.engines.vllm.fold import PromptShape, Unit
from headrace.worker.engines.vllm.grammar.constraint import Constraint
from headrace.worker.engines.vllm.library import RenderedPrompt, VllmLibrary
from headrace.worker.engines.vllm.plan import EngineRequest, JobPlan
from headrace.worker.engines.vllm.prompt.conversation import has_images, write_conversation, write_tools
from headrace.worker.engines.vllm.prompt.told_tools import tell_tools
from headrace.worker.engines.vllm.sampling import KIND, VllmExtension, effective_max_tokens, sampling_arguments
from headrace.worker.engines.vllm.trial.examiner import ExaminerBusyError, ExaminerGoneError

_GREEDY_BELOW = 1e-5


class JobPlanner:
    """Plans jobs for one engine.

    Args:
        library: the engine.
    """

    def __init__(self, library: VllmLibrary) -> None:
        self._library = library

    async def plan(self, job: EngineJob) -> JobPlan:
        """Return what a job asks of the engine.

        Raises:
            HeadraceError: the job can't be run; the field at fault is named.
        """
        request = job.request
        if request.embedding is not None:
            message = "this model answers and makes no embeddings; ask one whose task is `embed`"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param="embedding")
        extension = read_extension(request.generation_parameters.provider_extensions, KIND, VllmExtension)
        prompts = await self._render(request, extension)
        shapes = [await self._shape(request, i, prompt) for i, prompt in enumerate(prompts)]
        if request.count_only:
            return JobPlan(prompts=shapes, requests=[])
        budgets = [self._find_budget(request, i, prompt) for i, prompt in enumerate(prompts)]
        form = await self._form(job, prompts[0], extension)
        requests = [
            each
            for i, (prompt, budget) in enumerate(zip(prompts, budgets, strict=True))
            for each in self._list_requests(request, extension, form, number=i, prompt=prompt, budget=budget)
        ]
        return JobPlan(prompts=shapes, requests=requests, make_reader=form.make_reader)

    async def _render(self, request: ChatCompletionRequest, extension: VllmExtension | None) -> list[RenderedPrompt]:
        if request.prompts:
            return [
                await self._library.prompts.render_prompt(prompt, param=f"prompts[{i}]")
                for i, prompt in enumerate(request.prompts)
            ]
        prompts = self._library.prompts
        conversation = write_conversation(request.messages, prompts.image_rules)
        tools = write_tools([entry.tool for entry in list_allowed(request)])
        if not prompts.tells_tools_itself:
            conversation, tools = tell_tools(conversation, tools), []
        template = (extension or VllmExtension()).template_arguments
        return [await prompts.render_chat(conversation, tools, template, has_images=has_images(request.messages))]

    async def _shape(self, request: ChatCompletionRequest, number: int, prompt: RenderedPrompt) -> PromptShape:
        if not request.output.prompt:
            return PromptShape("", prompt.token_ids)
        given = request.prompts[number] if request.prompts else None
        text = given if isinstance(given, str) else await self._library.prompts.decode(prompt.token_ids)
        return PromptShape(text, prompt.token_ids)

    def _find_budget(self, request: ChatCompletionRequest, number: int, prompt: RenderedPrompt) -> int:
        parameters, defaults = request.generation_parameters, self._library.defaults
        room = output_budget(
            input_tokens=prompt.token_count,
            max_tokens=parameters.max_tokens,
            max_model_tokens=self._library.max_model_tokens,
            prompt_param=f"prompts[{number}]" if request.prompts else "messages",
        )
        budget = effective_max_tokens(parameters, defaults, budget=room)
        if parameters.min_tokens is not None and parameters.min_tokens > budget:
            message = f"min_tokens is {parameters.min_tokens}, and there is room for {budget} tokens"
            raise HeadraceError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, message, param="generation_parameters.min_tokens")
        return budget

    async def _form(self, job: EngineJob, prompt: RenderedPrompt, extension: VllmExtension | None) -> AnswerForm:
        request, parsers = job.request, self._library.parsers
        constraint = await write_form_constraint(request, tool_parser=parsers.tool_parser)
        if constraint is not None:
            check_beside_constraint(request, extension)
        if request.messages:
            form = form_answer(
                request, prompt, constraint, request_id=job.request_id, parsers=parsers, extension=extension
            )
        else:
            form = AnswerForm(constraint=constraint)
        if form.constraint is not None:
            await self._examine(form.constraint, refusal_param(request))
        return form

    async def _examine(self, constraint: Constraint, param: str) -> None:
        try:
            reason = await self._library.examine(constraint)
        except ExaminerBusyError as error:
            message = "too many new response formats are being checked on this worker; send the request again"
            raise HeadraceError(ErrorCode.OVERLOADED, message) from error
        except ExaminerGoneError as error:
            message = "the response format could not be checked on this worker; send the request again"
            raise HeadraceError(ErrorCode.ENGINE_ERROR, message) from error
        if reason:
            raise HeadraceError(
                ErrorCode.INVALID_REQUEST, f"the engine can't hold an answer to this: {reason}", param=param
            )

    def _list_requests(
        self,
        request: ChatCompletionRequest,
        extension: VllmExtension | None,
        form: AnswerForm,
        *,
        number: int,
        prompt: RenderedPrompt,
        budget: int,
    ) -> list[EngineRequest]:
        parameters = request.generation_parameters
        arguments = sampling_arguments(
            parameters, extension, defaults=self._library.defaults, max_tokens=budget, flags=request.output
        )
        if form.keeps_special_tokens:
            arguments["skip_special_tokens"] = False
        if form.only_calls:
            arguments.pop("stop", None)
        first = number * parameters.n

        def ask(sequence: int, own: dict[str, Any]) -> EngineRequest:
            if form.constraint is not None:
                # vLLM writes into it.
                own = own | {"structured_outputs": self._library.write_constraint(form.constraint)}
            return EngineRequest(
                unit=Unit(number, sequence), prompt=prompt, arguments=own, thinks_first=form.engine_finds_reasoning
            )

        if arguments["n"] == 1 or not _is_greedy(arguments):
            return [ask(first, arguments)]
        # vLLM refuses to give the one likeliest answer several times.
        return [ask(first + i, arguments | {"n": 1}) for i in range(parameters.n)]


def _is_greedy(arguments: dict[str, Any]) -> bool:
    return float(arguments.get("temperature", 1.0)) < _GREEDY_BELOW

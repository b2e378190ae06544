"""From the bytes of a body to a request, in two steps: what it refers to is looked up between them."""

from collections.abc import Sequence
from typing import Any, assert_never

from headrace.gateway.dialects.openai.extras import VllmFields, to_provider_extensions
from headrace.gateway.dialects.openai.responses.conversation import check_items, to_messages
from headrace.gateway.dialects.openai.responses.items import ConversationItem
from headrace.gateway.dialects.openai.responses.refusals import normalise_input, refuse_unsupported
from headrace.gateway.dialects.openai.responses.wire import (
    IGNORED_FIELDS,
    LOGPROBS,
    UNSUPPORTED_FIELDS,
    AllowedTools,
    FunctionTool,
    JsonObject,
    JsonSchema,
    NamedFunction,
    PlainText,
    ResponseBody,
    TextConfig,
)
from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.json_schema import check_arguments_schema, check_json_schema
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request
from headrace.schema.formats import JsonObjectFormat, JsonSchemaFormat, ResponseFormat, TextFormat
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.schema.tools import Tool, ToolChoice

_PASSED_OVER = IGNORED_FIELDS | UNSUPPORTED_FIELDS.keys()


class BodyReader:
    """Reads bodies of calls for a response."""

    def __init__(self) -> None:
        self._reader = StrictReader(ResponseBody)

    def read(self, body: bytes) -> ResponseBody:
        """Return the body, checked as far as it can be by itself.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
        """
        fields = decode_object(body)
        refuse_unsupported(fields)
        known = {name: value for name, value in fields.items() if name not in _PASSED_OVER}
        if "input" in known:
            known["input"] = normalise_input(known["input"])
        read = self._reader.read(known)
        _check_combinations(read)
        return read


def _check_combinations(body: ResponseBody) -> None:
    if body.stream_options is not None and not body.stream:
        raise _invalid("'stream_options' is only allowed when 'stream' is true", "stream_options")
    if body.background and body.store is False:
        raise _invalid("'background' needs 'store' to be true: nobody could fetch the answer", "background")


def _invalid(message: str, param: str) -> RequestRefusedError:
    return RequestRefusedError(message, reason="invalid_value", param=param)


def to_request(
    body: ResponseBody, *, history: Sequence[ConversationItem], items: Sequence[ConversationItem]
) -> ChatCompletionRequest:
    """Return the request that a body asks for.

    Args:
        body: as it was read.
        history: what was said up to the previous response.
        items: the items of the body, with references resolved.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    check_items(items)
    choice, form = _to_choice(body), _to_format(body.text)
    wants_logprobs = LOGPROBS in (body.include or ())
    request = ChatCompletionRequest(
        model=body.model,
        messages=to_messages((*history, *items), instructions=body.instructions or None),
        generation_parameters=_to_parameters(body),
        output=OutputFlags(
            reasoning=body.reasoning is None or body.reasoning.effort != "none",
            signatures=True,
            logprobs=wants_logprobs,
            top_logprobs=(body.top_logprobs or 0) if wants_logprobs else 0,
        ),
        tools=tuple(_to_tool(tool, f"tools[{i}]") for i, tool in enumerate(body.tools or ())),
        tool_choice=choice,
        # The format is that of text, and an answer that must be a call has none.
        response_format=TextFormat() if choice.mode == "required" else form,
    )
    check_request(request)
    return request


def _to_parameters(body: ResponseBody) -> GenerationParameters:
    stop = body.stop or ()
    return GenerationParameters(
        temperature=body.temperature,
        top_p=body.top_p,
        # vLLM's word for all is -1.
        top_k=0 if body.top_k == -1 else body.top_k,
        min_p=body.min_p,
        max_tokens=body.max_output_tokens,
        ignore_eos=body.ignore_eos is True,
        stop=(stop,) if isinstance(stop, str) else stop,
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        provider_extensions=to_provider_extensions(VllmFields(), _template_arguments_of(body)),
    )


def _template_arguments_of(body: ResponseBody) -> dict[str, Any]:
    """Return the variables for the model's chat template; what the client writes there itself goes before the rest."""
    effort = None if body.reasoning is None else body.reasoning.effort
    asked = {} if effort is None else {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    return asked | (body.chat_template_kwargs or {})


def _to_tool(tool: FunctionTool, path: str) -> Tool:
    if tool.parameters is not None:
        check_arguments_schema(tool.parameters, param=f"{path}.parameters")
    # Unlike chat completions, responses hold a tool to its schema unless they are told not to.
    strict = tool.strict is not False
    return Tool(name=tool.name, description=tool.description, parameters=tool.parameters, strict=strict)


def _to_choice(body: ResponseBody) -> ToolChoice:
    parallel = body.parallel_tool_calls is not False
    match body.tool_choice:
        case None:
            return ToolChoice(parallel=parallel)
        case NamedFunction(name=name):
            return ToolChoice(mode="required", names=(name,), parallel=False)
        case AllowedTools(mode=mode, tools=tools):
            return ToolChoice(mode=mode, names=tuple(tool.name for tool in tools), parallel=parallel)
        case mode:
            return ToolChoice(mode=mode, parallel=parallel)


def _to_format(text: TextConfig | None) -> ResponseFormat:
    chosen = None if text is None else text.format
    match chosen:
        case None | PlainText():
            return TextFormat()
        case JsonObject():
            return JsonObjectFormat()
        case JsonSchema():
            check_json_schema(chosen.schema, param="text.format.schema")
            return JsonSchemaFormat(schema=chosen.schema, name=chosen.name, description=chosen.description)
        case _:
            assert_never(chosen)

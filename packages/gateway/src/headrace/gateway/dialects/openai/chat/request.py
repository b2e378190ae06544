"""From OpenAI's body, once it is read, to a request in the schema's words."""

from typing import Any

from headrace.gateway.dialects.openai.chat.formats import to_response_format
from headrace.gateway.dialects.openai.chat.messages import to_messages
from headrace.gateway.dialects.openai.chat.refusing import unsupported_value
from headrace.gateway.dialects.openai.chat.tools import to_tool_choice, to_tools
from headrace.gateway.dialects.openai.chat.wire import ChatCompletionBody
from headrace.gateway.dialects.openai.extras import to_beam_search, to_best_of, to_provider_extensions, to_top_k
from headrace.gateway.dialects.openai.fields import to_logit_bias
from headrace.gateway.dialects.openai.structured import to_structure
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.formats import ResponseFormat, TextFormat
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.schema.tools import ToolChoice

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_THINKING_SWITCHES = ("enable_thinking", "thinking")


def to_request(wire: ChatCompletionBody) -> ChatCompletionRequest:
    """Return the request that a body asks for.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    tools = to_tools(wire.tools or ())
    choice = to_tool_choice(wire.tool_choice, tools=tools, parallel=wire.parallel_tool_calls)
    return ChatCompletionRequest(
        model=wire.model,
        messages=to_messages(wire.messages),
        generation_parameters=_to_parameters(wire),
        output=_to_output(wire),
        tools=tools,
        tool_choice=choice,
        response_format=_to_format(wire, choice),
    )


def _to_parameters(wire: ChatCompletionBody) -> GenerationParameters:
    stop, n = wire.stop or (), wire.n or 1
    return GenerationParameters(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=to_top_k(wire),
        min_p=wire.min_p,
        max_tokens=_max_tokens_of(wire),
        min_tokens=wire.min_tokens,
        ignore_eos=wire.ignore_eos is True,
        n=n,
        best_of=to_best_of(wire),
        stop=(stop,) if isinstance(stop, str) else stop,
        seed=wire.seed,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        repetition_penalty=wire.repetition_penalty,
        logit_bias=to_logit_bias(wire.logit_bias or {}),
        beam_search=to_beam_search(wire, n=n),
        provider_extensions=to_provider_extensions(wire, _template_arguments_of(wire)),
    )


def _max_tokens_of(wire: ChatCompletionBody) -> int | None:
    old, new = wire.max_tokens, wire.max_completion_tokens
    if old is not None and new is not None and old != new:
        message = "'max_tokens' and 'max_completion_tokens' mean the same, and have different values"
        raise RequestRefusedError(message, reason="invalid_value", param="max_tokens")
    return old if new is None else new


def _template_arguments_of(wire: ChatCompletionBody) -> dict[str, Any]:
    """Return the variables for the model's chat template; what the client writes there itself goes before the rest."""
    arguments: dict[str, Any] = {}
    if wire.reasoning_effort is not None:
        if wire.reasoning_effort not in _EFFORTS:
            raise unsupported_value("reasoning_effort", wire.reasoning_effort, _EFFORTS)
        arguments |= {"reasoning_effort": wire.reasoning_effort, "enable_thinking": wire.reasoning_effort != "none"}
    if wire.continue_final_message:
        if wire.add_generation_prompt:
            message = "'continue_final_message' does not go with 'add_generation_prompt'"
            raise RequestRefusedError(message, reason="invalid_value", param="continue_final_message")
        arguments |= {"continue_final_message": True, "add_generation_prompt": False}
    elif wire.add_generation_prompt is False:
        arguments["add_generation_prompt"] = False
    return arguments | (wire.chat_template_kwargs or {})


def _to_output(wire: ChatCompletionBody) -> OutputFlags:
    return OutputFlags(
        reasoning=_shows_reasoning(wire),
        logprobs=wire.logprobs is True,
        top_logprobs=wire.top_logprobs or 0,
        token_ids=wire.return_token_ids is True,
        prompt=wire.return_token_ids is True or wire.prompt_logprobs is not None,
        prompt_logprobs=wire.prompt_logprobs,
        signatures=True,
    )


def _shows_reasoning(wire: ChatCompletionBody) -> bool:
    """Tell whether the client asks what the model thought: in so many words, or by asking it to think."""
    if wire.include_reasoning is not None:
        return wire.include_reasoning
    if wire.reasoning_effort not in (None, "none"):
        return True
    arguments = wire.chat_template_kwargs or {}
    return any(arguments.get(name) is True for name in _THINKING_SWITCHES)


def _to_format(wire: ChatCompletionBody, choice: ToolChoice) -> ResponseFormat:
    asked, structure = to_response_format(wire.response_format), to_structure(wire)
    if structure is not None and not isinstance(asked, TextFormat):
        message = "'response_format' does not go with vLLM's fields for structured outputs"
        raise RequestRefusedError(message, reason="invalid_value", param="response_format")
    if choice.mode == "required":
        # The format is that of text, and such an answer has none.
        return TextFormat()
    return asked if structure is None else structure

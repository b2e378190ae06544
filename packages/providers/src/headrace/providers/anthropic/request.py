"""Our requests in Anthropic's words."""

from typing import Any

from headrace.providers.anthropic.messages import write_messages, write_system
from headrace.providers.anthropic.signatures import signature_of
from headrace.providers.extensions import VllmExtension
from headrace.providers.failing import Complaints
from headrace.providers.refusing import refuse
from headrace.schema.formats import JsonObjectFormat, JsonSchemaFormat
from headrace.schema.messages import ReasoningPart, ToolCallPart
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.tools import Tool

_HIGHEST_TEMPERATURE = 1.0
_REFUSED = (
    "generation_parameters.beam_search",
    "generation_parameters.best_of",
    "generation_parameters.ignore_eos",
    "generation_parameters.logit_bias",
    "generation_parameters.min_tokens",
    "generation_parameters.n",
    "output.logprobs",
    "output.prompt",
    "output.token_ids",
    "response_format",
    "embedding",
    "prompts",
)
_ANY_OBJECT: dict[str, Any] = {"type": "object"}
# Anthropic's scale begins at low; `none` turns thinking off.
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class BodyWriter:
    """Writes the bodies of messages and of token counts.

    Args:
        default_max_tokens: limit of an answer where the request has none, since Anthropic demands one.
        thinking_tokens: budget for thoughts, for models that do not choose it themselves; 0 for those that do.
        complaints: say what goes wrong.
    """

    def __init__(self, *, default_max_tokens: int, thinking_tokens: int, complaints: Complaints) -> None:
        self._default_max_tokens = default_max_tokens
        self._thinking_tokens = thinking_tokens
        self._complaints = complaints

    def write_count(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the body of a token count.

        Raises:
            ProviderError: the request asks for what Anthropic does not have.
        """
        refuse(request, _REFUSED, self._complaints)
        body: dict[str, Any] = {
            "model": request.model,
            "messages": write_messages(request.messages, self._complaints),
        }
        if system := write_system(request.messages):
            body["system"] = system
        return body | self._write_tools(request) | self._write_output(request)

    def write_message(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the body of a message call.

        Raises:
            ProviderError: the request asks for what Anthropic does not have.
        """
        body = self.write_count(request)
        parameters = request.generation_parameters
        body["max_tokens"] = parameters.max_tokens or self._default_max_tokens
        body["stream"] = True
        if parameters.stop:
            body["stop_sequences"] = list(parameters.stop)
        if parameters.temperature is not None:
            body["temperature"] = min(parameters.temperature, _HIGHEST_TEMPERATURE)
        if parameters.top_p is not None:
            body["top_p"] = parameters.top_p
        if parameters.top_k:
            body["top_k"] = parameters.top_k
        return body | self._write_thinking(request, body["max_tokens"])

    def _write_thinking(self, request: ChatCompletionRequest, max_tokens: int) -> dict[str, Any]:
        if VllmExtension(request, self._complaints).effort == "none":
            return {"thinking": {"type": "disabled"}}
        if not request.output.reasoning:
            return {}
        if not self._thinking_tokens:
            return {"thinking": {"type": "adaptive", "display": "summarized"}}
        if _has_unsigned_call(request):
            return {}
        # The budget must leave room for the answer, and thoughts count among its tokens.
        budget = {"type": "enabled", "budget_tokens": self._thinking_tokens}
        return {"thinking": budget, "max_tokens": max(max_tokens, self._thinking_tokens + max_tokens)}

    def _write_output(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the form of the answer's text, and how much effort to put into it."""
        config: dict[str, Any] = {}
        extension = VllmExtension(request, self._complaints)
        extension.refuse_binding(self._complaints, continues=True)
        if extension.effort in _EFFORTS:
            config["effort"] = _EFFORTS[extension.effort]
        match request.response_format:
            case JsonSchemaFormat() as form:
                config["format"] = {"type": "json_schema", "schema": form.schema}
            case JsonObjectFormat():
                raise self._complaints.unsupported("a JSON object of any form; give a JSON Schema", "response_format")
            case _:
                pass
        return {"output_config": config} if config else {}

    def _write_tools(self, request: ChatCompletionRequest) -> dict[str, Any]:
        if not request.tools:
            return {}
        choice = request.tool_choice
        tools = [tool for tool in request.tools if not choice.names or tool.name in choice.names]
        match choice.mode:
            case "none":
                chosen: dict[str, Any] = {"type": "none"}
            case "auto":
                chosen = {"type": "auto"}
            case "required" if len(choice.names) == 1:
                chosen = {"type": "tool", "name": choice.names[0]}
            case "required":
                chosen = {"type": "any"}
        if not choice.parallel and choice.mode != "none":
            chosen["disable_parallel_tool_use"] = True
        return {"tools": [_write_tool(tool) for tool in tools], "tool_choice": chosen}


def _has_unsigned_call(request: ChatCompletionRequest) -> bool:
    """Tell whether the turn that is to go on has called tools without a thought that Anthropic signed.

    It would not think on in such a turn, and refuses to be told to.
    """
    for message in reversed(request.messages):
        if message.role == "user":
            return False
        if message.role == "assistant" and any(isinstance(part, ToolCallPart) for part in message.parts):
            return not any(isinstance(part, ReasoningPart) and signature_of(part) for part in message.parts)
    return False


def _write_tool(tool: Tool) -> dict[str, Any]:
    body: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters or _ANY_OBJECT}
    if tool.description is not None:
        body["description"] = tool.description
    if tool.strict:
        body["strict"] = True
    return body

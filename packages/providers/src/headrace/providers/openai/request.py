"""Our requests in OpenAI's words: chats, completions and embeddings."""

import re
from typing import Any, assert_never

from headrace.providers.extensions import VllmExtension
from headrace.providers.failing import Complaints
from headrace.providers.openai.messages import MessageWriter
from headrace.providers.refusing import refuse
from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextFormat,
)
from headrace.schema.request import ChatCompletionRequest, GenerationParameters
from headrace.schema.tools import Tool

MAX_NAME_CHARACTERS = 64
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
# Named as in vLLM's body, each with the field of ours.
_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")
_VLLM_SAMPLING = ("top_k", "min_p", "repetition_penalty", "min_tokens")
_REFUSED = ("count_only", "generation_parameters.beam_search", "generation_parameters.best_of", "output.prompt")
_REFUSED_BUT_BY_VLLM = (
    "generation_parameters.ignore_eos",
    "generation_parameters.min_tokens",
    "output.token_ids",
    "response_format",
)
# In vLLM's body they stand beside the variables of the template, not among them.
_TEMPLATE_SWITCHES = ("add_generation_prompt", "continue_final_message")


class BodyWriter:
    """Writes the bodies of calls to one server.

    Args:
        vllm_fields: whether the server takes vLLM's further fields.
        max_tokens_field: its name for the limit of an answer.
        sends_reasoning: whether it takes back what the assistant thought.
        sends_signatures: whether it is Gemini's, which wants the signatures of its calls back.
        complaints: say what goes wrong.
    """

    def __init__(
        self,
        *,
        vllm_fields: bool,
        max_tokens_field: str,
        sends_reasoning: bool,
        sends_signatures: bool,
        complaints: Complaints,
    ) -> None:
        self._vllm = vllm_fields
        self._max_tokens_field = max_tokens_field
        self._messages = MessageWriter(
            sends_reasoning=sends_reasoning, sends_signatures=sends_signatures, complaints=complaints
        )
        self._complaints = complaints

    def write_chat(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the body of a chat completion.

        Raises:
            ProviderError: the server does not have what the request asks for.
        """
        self._refuse(request)
        extension = VllmExtension(request, self._complaints)
        body: dict[str, Any] = {"model": request.model, "messages": self._messages.write(request.messages)}
        body |= self._sampling(request.generation_parameters, self._max_tokens_field)
        body |= self._write_tools(request)
        body |= self._write_format(request.response_format)
        if request.output.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.output.top_logprobs}
        if self._vllm:
            body |= self._write_extension(extension)
            body["include_reasoning"] = request.output.reasoning
        else:
            extension.refuse_binding(self._complaints, continues=False)
        if extension.effort is not None:
            body["reasoning_effort"] = extension.effort
        return body | self._write_end(request)

    def write_completion(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the body of a completion.

        Raises:
            ProviderError: the server does not have what the request asks for.
        """
        self._refuse(request)
        refuse(request, ["tools"], self._complaints)
        prompts = [prompt if isinstance(prompt, str) else list(prompt) for prompt in request.prompts]
        body: dict[str, Any] = {"model": request.model, "prompt": prompts[0] if len(prompts) == 1 else prompts}
        body |= self._sampling(request.generation_parameters, "max_tokens")
        extension = VllmExtension(request, self._complaints)
        if self._vllm:
            body |= self._write_format(request.response_format) | self._write_extension(extension)
        else:
            extension.refuse_binding(self._complaints, continues=False)
            if not isinstance(request.response_format, TextFormat):
                raise self._complaints.unsupported("a form for the text of a raw prompt", "response_format")
        if request.output.logprobs:
            body["logprobs"] = request.output.top_logprobs
        return body | self._write_end(request)

    def write_embedding(self, request: ChatCompletionRequest, *, compact: bool) -> dict[str, Any]:
        """Return the body of a call for embeddings; a compact answer has its numbers in base64."""
        inputs = [prompt if isinstance(prompt, str) else list(prompt) for prompt in request.prompts]
        body: dict[str, Any] = {"model": request.model, "input": inputs}
        if request.embedding is not None and request.embedding.dimensions is not None:
            body["dimensions"] = request.embedding.dimensions
        return body | ({"encoding_format": "base64"} if compact else {})

    def _refuse(self, request: ChatCompletionRequest) -> None:
        refuse(request, _REFUSED, self._complaints)
        if not self._vllm:
            refuse(request, _REFUSED_BUT_BY_VLLM, self._complaints)

    def _sampling(self, parameters: GenerationParameters, max_tokens_field: str) -> dict[str, Any]:
        names = (*_SAMPLING, *_VLLM_SAMPLING) if self._vllm else _SAMPLING
        body = {name: value for name in names if (value := getattr(parameters, name)) is not None}
        if parameters.max_tokens is not None:
            body[max_tokens_field] = parameters.max_tokens
        if parameters.n > 1:
            body["n"] = parameters.n
        if parameters.stop:
            body["stop"] = list(parameters.stop)
        if parameters.logit_bias:
            body["logit_bias"] = {str(token): bias for token, bias in parameters.logit_bias.items()}
        if parameters.ignore_eos:
            body["ignore_eos"] = True
        return body

    def _write_tools(self, request: ChatCompletionRequest) -> dict[str, Any]:
        if not request.tools:
            return {}
        choice = request.tool_choice
        # Which tools may be called is said by sending only those: every server understands that.
        tools = [tool for tool in request.tools if not choice.names or tool.name in choice.names]
        body: dict[str, Any] = {"tools": [_write_tool(tool) for tool in tools], "tool_choice": choice.mode}
        if choice.mode == "required" and len(choice.names) == 1:
            body["tool_choice"] = {"type": "function", "function": {"name": choice.names[0]}}
        if not choice.parallel:
            body["parallel_tool_calls"] = False
        return body

    def _write_format(self, form: ResponseFormat) -> dict[str, Any]:
        match form:
            case TextFormat():
                return {}
            case JsonObjectFormat():
                return {"response_format": {"type": "json_object"}}
            case JsonSchemaFormat():
                schema: dict[str, Any] = {"name": _to_name(form.name), "schema": form.schema, "strict": True}
                if form.description is not None:
                    schema["description"] = form.description
                return {"response_format": {"type": "json_schema", "json_schema": schema}}
            case RegexFormat():
                return {"structured_outputs": {"regex": form.pattern}}
            case ChoiceFormat():
                return {"structured_outputs": {"choice": list(form.choices)}}
            case GrammarFormat():
                return {"structured_outputs": {"grammar": form.grammar}}
            case _:
                assert_never(form)

    def _write_extension(self, extension: VllmExtension) -> dict[str, Any]:
        body = {name: value for name, value in extension.fields.items() if name != "chat_template_kwargs"}
        template = dict(extension.template)
        for name in _TEMPLATE_SWITCHES:
            if name in template:
                body[name] = template.pop(name)
        template.pop("reasoning_effort", None)
        return body | ({"chat_template_kwargs": template} if template else {})

    def _write_end(self, request: ChatCompletionRequest) -> dict[str, Any]:
        ids = {"return_token_ids": True} if request.output.token_ids else {}
        return {**ids, "stream": True, "stream_options": {"include_usage": True}}


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _to_name(name: str | None) -> str:
    """Return the name of a schema in the characters that OpenAI allows."""
    return _NOT_IN_NAMES.sub("_", name or "answer")[:MAX_NAME_CHARACTERS]

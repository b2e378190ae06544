"""Our requests in Gemini's words."""

from typing import Any

from headrace.providers.extensions import VllmExtension
from headrace.providers.failing import Complaints
from headrace.providers.gemini.contents import write_contents, write_system
from headrace.providers.refusing import refuse
from headrace.schema.formats import JsonObjectFormat, JsonSchemaFormat
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.tools import Tool

_REFUSED = (
    "generation_parameters.beam_search",
    "generation_parameters.best_of",
    "generation_parameters.ignore_eos",
    "generation_parameters.logit_bias",
    "generation_parameters.min_tokens",
    "output.prompt",
    "output.token_ids",
    "response_format",
    "prompts",
)
_SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "max_tokens": "maxOutputTokens",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_SEED_BITS = 2**31
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}


class BodyWriter:
    """Writes the bodies of calls.

    Args:
        complaints: say what goes wrong.
    """

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints

    def write_generation(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the body of a generation.

        Raises:
            ProviderError: the request asks for what Gemini does not have.
        """
        refuse(request, _REFUSED, self._complaints)
        extension = VllmExtension(request, self._complaints)
        extension.refuse_binding(self._complaints, continues=False)
        body: dict[str, Any] = {"contents": write_contents(request.messages, self._complaints)}
        if system := write_system(request.messages):
            body["systemInstruction"] = {"parts": system}
        body |= self._write_tools(request)
        config = _write_sampling(request) | self._write_form(request) | _write_thinking(request, extension.effort)
        return body | ({"generationConfig": config} if config else {})

    def write_embeddings(self, request: ChatCompletionRequest) -> dict[str, Any]:
        """Return the body of a call for embeddings.

        Raises:
            ProviderError: a prompt is token ids.
        """
        texts = [prompt for prompt in request.prompts if isinstance(prompt, str)]
        if len(texts) < len(request.prompts):
            raise self._complaints.unsupported("prompts of token ids", "prompts")
        one: dict[str, Any] = {"model": f"models/{request.model}"}
        if request.embedding is not None and request.embedding.dimensions is not None:
            one["outputDimensionality"] = request.embedding.dimensions
        return {"requests": [one | {"content": {"parts": [{"text": text}]}} for text in texts]}

    def _write_form(self, request: ChatCompletionRequest) -> dict[str, Any]:
        match request.response_format:
            case JsonSchemaFormat() as form:
                return {"responseMimeType": "application/json", "responseJsonSchema": form.schema}
            case JsonObjectFormat():
                return {"responseMimeType": "application/json"}
            case _:
                return {}

    def _write_tools(self, request: ChatCompletionRequest) -> dict[str, Any]:
        if not request.tools:
            return {}
        choice = request.tool_choice
        if not choice.parallel and choice.mode != "none":
            raise self._complaints.unsupported("at most one call in an answer", "tool_choice.parallel")
        tools = [tool for tool in request.tools if not choice.names or tool.name in choice.names]
        calling: dict[str, Any] = {"mode": _MODES[choice.mode]}
        if choice.mode == "required" and choice.names:
            calling["allowedFunctionNames"] = list(choice.names)
        return {
            "tools": [{"functionDeclarations": [_write_tool(tool) for tool in tools]}],
            "toolConfig": {"functionCallingConfig": calling},
        }


def _write_sampling(request: ChatCompletionRequest) -> dict[str, Any]:
    parameters, output = request.generation_parameters, request.output
    config: dict[str, Any] = {
        theirs: value for ours, theirs in _SAMPLING.items() if (value := getattr(parameters, ours)) is not None
    }
    if parameters.top_k:
        config["topK"] = parameters.top_k
    if parameters.seed is not None:
        # Theirs has 32 bits: a larger one is folded, and stays the same for the same request.
        config["seed"] = parameters.seed % _SEED_BITS
    if parameters.n > 1:
        config["candidateCount"] = parameters.n
    if parameters.stop:
        config["stopSequences"] = list(parameters.stop)
    if output.logprobs:
        config["responseLogprobs"] = True
        if output.top_logprobs:
            config["logprobs"] = output.top_logprobs
    return config


def _write_thinking(request: ChatCompletionRequest, effort: str | None) -> dict[str, Any]:
    thinking: dict[str, Any] = {"includeThoughts": True} if request.output.reasoning else {}
    if effort == "none":
        thinking = {"thinkingBudget": 0}
    elif effort in _LEVELS:
        thinking["thinkingLevel"] = _LEVELS[effort]
    return {"thinkingConfig": thinking} if thinking else {}


def _write_tool(tool: Tool) -> dict[str, Any]:
    body: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        body["description"] = tool.description
    if tool.parameters is not None:
        body["parametersJsonSchema"] = tool.parameters
    return body

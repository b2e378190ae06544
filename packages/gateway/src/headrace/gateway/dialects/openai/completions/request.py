"""From the body of a completion, once it is read, to a request in the schema's words."""

from typing import Any

from headrace.gateway.dialects.openai.chat.formats import to_response_format
from headrace.gateway.dialects.openai.completions.wire import DEFAULT_MAX_TOKENS, CompletionBody, Shown
from headrace.gateway.dialects.openai.extras import to_beam_search, to_best_of, to_provider_extensions, to_top_k
from headrace.gateway.dialects.openai.fields import to_logit_bias
from headrace.gateway.dialects.openai.prompts import to_prompts
from headrace.gateway.dialects.openai.structured import to_structure
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.formats import ResponseFormat, TextFormat
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags

_VLLM = "vllm"


def to_request(wire: CompletionBody) -> ChatCompletionRequest:
    """Return the request that a body asks for.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    return ChatCompletionRequest(
        model=wire.model,
        prompts=to_prompts(wire.prompt, "prompt"),
        generation_parameters=_to_parameters(wire),
        output=_to_output(wire),
        response_format=_to_format(wire),
    )


def to_shown(wire: CompletionBody) -> Shown:
    """Return what of the answer the client is shown."""
    return Shown(
        echo=wire.echo is True,
        generated=wire.max_tokens != 0,
        logprobs=wire.logprobs,
        prompt_logprobs=wire.prompt_logprobs,
        token_ids=wire.return_token_ids is True,
    )


def _to_parameters(wire: CompletionBody) -> GenerationParameters:
    stop, n = wire.stop or (), wire.n or 1
    return GenerationParameters(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=to_top_k(wire),
        min_p=wire.min_p,
        max_tokens=DEFAULT_MAX_TOKENS if wire.max_tokens is None else max(1, wire.max_tokens),
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
        provider_extensions=_to_extensions(wire),
    )


def _to_extensions(wire: CompletionBody) -> dict[str, dict[str, Any]]:
    extensions = to_provider_extensions(wire)
    if wire.add_special_tokens is False:
        extensions[_VLLM] = {**extensions.get(_VLLM, {}), "add_special_tokens": False}
    return extensions


def _to_output(wire: CompletionBody) -> OutputFlags:
    echoed = wire.logprobs if wire.echo else None
    asked = [count for count in (echoed, wire.prompt_logprobs) if count is not None]
    token_ids = wire.return_token_ids is True
    return OutputFlags(
        logprobs=wire.logprobs is not None,
        top_logprobs=wire.logprobs or 0,
        token_ids=token_ids,
        prompt=wire.echo is True or token_ids or bool(asked),
        prompt_logprobs=max(asked) if asked else None,
    )


def _to_format(wire: CompletionBody) -> ResponseFormat:
    asked, structure = to_response_format(wire.response_format), to_structure(wire)
    if structure is None:
        return asked
    if not isinstance(asked, TextFormat):
        message = "'response_format' does not go with vLLM's fields for structured outputs"
        raise RequestRefusedError(message, reason="invalid_value", param="response_format")
    return structure

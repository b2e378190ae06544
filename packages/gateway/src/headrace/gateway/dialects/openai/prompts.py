"""Prompts as the older of OpenAI's APIs take them: one text, several, the token ids of one, or those of several."""

from typing import Annotated

from msgspec import Meta

from headrace.gateway.failure import RequestRefusedError
from headrace.schema.request import MAX_EMBEDDING_INPUTS, Prompt, TokenId

TokenIds = Annotated[tuple[TokenId, ...], Meta(min_length=1)]
PromptsBody = str | Annotated[tuple[str | TokenId | TokenIds, ...], Meta(min_length=1)]
"""A list of numbers is one prompt; a decoder can't say more than that the items of a list are all alike."""


def to_prompts(value: PromptsBody, param: str) -> tuple[Prompt, ...]:
    """Return the prompts.

    Args:
        value: as the client wrote them.
        param: the field that they came in.

    Raises:
        RequestRefusedError: one is empty, they are not all of one kind, or they are too many.
    """
    if isinstance(value, str):
        return (_not_empty(value, param),)
    numbers = tuple(item for item in value if isinstance(item, int))
    if len(numbers) == len(value):
        return (numbers,)
    prompts = tuple(item for item in value if not isinstance(item, int))
    if numbers or any(type(prompt) is not type(prompts[0]) for prompt in prompts):
        message = f"'{param}' must be a string, or an array of strings, of token ids, or of arrays of token ids"
        raise RequestRefusedError(message, reason="invalid_type", param=param)
    if len(prompts) > MAX_EMBEDDING_INPUTS:
        message = f"'{param}' may have at most {MAX_EMBEDDING_INPUTS} items"
        raise RequestRefusedError(message, reason="array_above_max_length", param=param)
    for i, prompt in enumerate(prompts):
        _not_empty(prompt, f"{param}[{i}]")
    return prompts


def _not_empty(prompt: Prompt, param: str) -> Prompt:
    if not prompt:
        raise RequestRefusedError(f"'{param}' must not be empty", reason="empty_string", param=param)
    return prompt

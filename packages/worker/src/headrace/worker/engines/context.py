"""How prompt and answer share a model's context: one rule and one message for every engine."""

from headrace.schema.errors import ErrorCode, HeadraceError


def output_budget(
    *, input_tokens: int, max_tokens: int | None, max_model_tokens: int, prompt_param: str = "messages"
) -> int:
    """Return how many tokens a sequence may have.

    Args:
        input_tokens: tokens of the prompt.
        max_tokens: what the request asks for; None is what the context leaves.
        max_model_tokens: the context, prompt and output together.
        prompt_param: the field that the prompt comes from.

    Raises:
        HeadraceError: `context_length_exceeded`, with both numbers.
    """
    room = max_model_tokens - input_tokens
    if room < 1:
        raise HeadraceError(
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            f"the prompt has {input_tokens} tokens, which leaves no room in this model's context of "
            f"{max_model_tokens} tokens for prompt and answer together; shorten the {_plain(prompt_param)}",
            param=prompt_param,
        )
    if max_tokens is None:
        return room
    if max_tokens > room:
        raise HeadraceError(
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            f"the prompt has {input_tokens} tokens and max_tokens asks for {max_tokens} more, together "
            f"{input_tokens + max_tokens}; this model's context has {max_model_tokens} tokens",
            param="generation_parameters.max_tokens",
        )
    return max_tokens


def _plain(param: str) -> str:
    return "messages" if param == "messages" else "prompt"

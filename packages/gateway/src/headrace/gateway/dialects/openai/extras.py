"""The fields by which vLLM's users ask for more than OpenAI has, in the bodies of completions and of chats.

They mean what they mean to vLLM's own server. What every engine can do is said in the schema's words; the rest is put
into the extension that only the vLLM engine reads.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from headrace.gateway.dialects.openai.structured import StructureFields
from headrace.schema.request import MAX_BEAM_WIDTH, MAX_SEQUENCES, MAX_TOP_LOGPROBS, BeamSearchParams, TokenId
from headrace.schema.task import MAX_PRIORITY

_VLLM = "vllm"
# The priority that vLLM's 0 stands for.
_MIDDLE_PRIORITY = 5
_ALL = -1
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class VllmFields(StructureFields, frozen=True, kw_only=True):
    """vLLM's fields, for a body to inherit."""

    allowed_token_ids: tuple[TokenId, ...] | None = None
    bad_words: tuple[str, ...] | None = None
    best_of: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] | None = None
    early_stopping: bool | Literal["never"] | None = None
    ignore_eos: bool | None = None
    length_penalty: Annotated[float, Meta(ge=-10.0, le=10.0)] | None = None
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    min_tokens: _Count | None = None
    priority: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    prompt_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    return_token_ids: bool | None = None
    skip_special_tokens: bool | None = None
    stop_token_ids: tuple[TokenId, ...] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    use_beam_search: bool | None = None


def to_top_k(fields: VllmFields) -> int | None:
    """Return how many of the likeliest tokens to sample from; 0 is all."""
    return 0 if fields.top_k == _ALL else fields.top_k


def to_beam_search(fields: VllmFields, *, n: int) -> BeamSearchParams | None:
    """Return the search that was asked for: as wide as the answers that it looks for, as vLLM's is."""
    if not fields.use_beam_search:
        return None
    return BeamSearchParams(
        width=min(max(n, fields.best_of or 1), MAX_BEAM_WIDTH),
        length_penalty=1.0 if fields.length_penalty is None else fields.length_penalty,
        early_stopping=False if fields.early_stopping is None else fields.early_stopping,
    )


def to_best_of(fields: VllmFields) -> int | None:
    """Return how many sequences to sample for each prompt."""
    return None if fields.use_beam_search else fields.best_of


def to_priority(fields: VllmFields) -> int | None:
    """Return the priority from 0 to 9, the higher the sooner, where vLLM's is any number, the lower the sooner."""
    if fields.priority is None:
        return None
    return min(max(_MIDDLE_PRIORITY - fields.priority, 0), MAX_PRIORITY)


def to_provider_extensions(
    fields: VllmFields, template_arguments: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the extension for the vLLM engine, or none where nothing in the body needs one.

    Args:
        fields: of the body.
        template_arguments: variables for the model's chat template.
    """
    extension: dict[str, Any] = {}
    for name in ("allowed_token_ids", "bad_words", "stop_token_ids"):
        if (values := getattr(fields, name)) is not None:
            extension[name] = list(values)
    if fields.skip_special_tokens is not None:
        extension["skip_special_tokens"] = fields.skip_special_tokens
    if template_arguments:
        extension["chat_template_kwargs"] = dict(template_arguments)
    return {_VLLM: extension} if extension else {}

"""What no vendor's API can honour, or not all of them, refused by the name that a request has for it.

A tuning knob that a vendor lacks is left out. What promises something about the answer is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any

from headrace.providers.failing import Complaints
from headrace.schema.formats import ChoiceFormat, GrammarFormat, RegexFormat
from headrace.schema.request import ChatCompletionRequest

_PARAMETERS = "generation_parameters"
_FORMS: dict[type, str] = {
    RegexFormat: "a regular expression",
    ChoiceFormat: "a choice of texts",
    GrammarFormat: "a grammar",
}

_ASKED: dict[str, Callable[[ChatCompletionRequest], Any]] = {
    f"{_PARAMETERS}.beam_search": lambda r: r.generation_parameters.beam_search,
    f"{_PARAMETERS}.best_of": lambda r: (r.generation_parameters.best_of or 0) > r.generation_parameters.n,
    f"{_PARAMETERS}.ignore_eos": lambda r: r.generation_parameters.ignore_eos,
    f"{_PARAMETERS}.logit_bias": lambda r: r.generation_parameters.logit_bias,
    f"{_PARAMETERS}.min_tokens": lambda r: r.generation_parameters.min_tokens,
    f"{_PARAMETERS}.n": lambda r: r.generation_parameters.n > 1,
    "output.logprobs": lambda r: r.output.logprobs,
    "output.prompt": lambda r: r.output.prompt,
    "output.token_ids": lambda r: r.output.token_ids,
    "response_format": lambda r: isinstance(r.response_format, tuple(_FORMS)),
    "tools": lambda r: r.tools,
    "embedding": lambda r: r.embedding,
    "count_only": lambda r: r.count_only,
    "prompts": lambda r: r.prompts,
}


def refuse(request: ChatCompletionRequest, fields: Sequence[str], complaints: Complaints) -> None:
    """Refuse a request that asks for any of these.

    Raises:
        ProviderError: naming the field.
    """
    for field in fields:
        if _ASKED[field](request):
            what = _FORMS.get(type(request.response_format), repr(field)) if field == "response_format" else repr(field)
            raise complaints.unsupported(what, field)

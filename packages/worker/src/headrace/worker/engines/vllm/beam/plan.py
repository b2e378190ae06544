"""From a request to the plan of its beam search: the rules, what each step asks of the engine, and what is refused."""

from collections.abc import Collection
from typing import Any

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.request import MAX_BEAM_WIDTH, MAX_TOP_LOGPROBS, GenerationParameters
from headrace.worker.engines.vllm.beam.endings import EndRules
from headrace.worker.engines.vllm.beam.search import BeamRules

# What the engine must be able to give for a token: as many candidates as the widest search with some stop tokens needs.
MAX_CANDIDATES = max(4 * MAX_BEAM_WIDTH, MAX_TOP_LOGPROBS)

# They change the scores that a search compares, and the engine's log probabilities are taken before them.
_REFUSED_UNLESS = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0}
_REFUSED_ARGUMENTS = ("logit_bias", "bad_words")
_TEXT_ARGUMENTS = ("stop", "min_tokens", "skip_special_tokens", "spaces_between_special_tokens")


class BeamPlan(Struct, frozen=True, kw_only=True):
    """How a request is searched.

    Attributes:
        rules: of the search.
        ends: what ends a beam.
        candidates: how many next tokens each beam is expanded by.
        top_logprobs: alternatives that each token of an answer is shown beside; None shows no log probabilities.
        allowed_token_ids: the only tokens that an answer may have; None is all.
        structured_outputs: arguments of vLLM's `StructuredOutputsParams`; None is no constraint.
        text: the arguments of `SamplingParams` that say how tokens become text.
    """

    rules: BeamRules
    ends: EndRules
    candidates: int
    top_logprobs: int | None
    allowed_token_ids: tuple[int, ...] | None
    structured_outputs: Any
    text: dict[str, Any]


def check_beam_parameters(parameters: GenerationParameters, arguments: dict[str, Any]) -> None:
    """Refuse what a search can't honour. What only concerns sampling (temperature, top_p, seed, …) is ignored.

    Args:
        parameters: of the request.
        arguments: of `SamplingParams` that were made of it.

    Raises:
        HeadraceError: `unsupported_parameter`, naming the field.
    """
    for name, neutral in _REFUSED_UNLESS.items():
        if getattr(parameters, name) not in (None, neutral):
            raise _refusal(name)
    for name in _REFUSED_ARGUMENTS:
        if arguments.get(name):
            raise _refusal(name if hasattr(parameters, name) else f"provider_extensions.vllm.{name}")
    if arguments.get("structured_outputs") is not None and arguments.get("ignore_eos"):
        raise _refusal("ignore_eos", "beam_search under a response format or a forced tool call")


def _refusal(name: str, what: str = "beam_search") -> HeadraceError:
    message = f"{name.rsplit('.', maxsplit=1)[-1]} does not go with {what}; leave it out"
    return HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param=f"generation_parameters.{name}")


def plan_beams(
    parameters: GenerationParameters,
    arguments: dict[str, Any],
    *,
    end_token_ids: Collection[int],
    vocabulary_size: int,
    top_logprobs: int | None,
) -> BeamPlan:
    """Return the plan of a request that asks for beam search.

    Args:
        parameters: of the request.
        arguments: of `SamplingParams` that were made of it.
        end_token_ids: the model's own end tokens.
        vocabulary_size: tokens that the model knows.
        top_logprobs: alternatives that each token of an answer is shown beside; None shows no log probabilities.

    Raises:
        HeadraceError: `unsupported_parameter`, naming the field.
    """
    check_beam_parameters(parameters, arguments)
    beams = parameters.beam_search
    if beams is None:
        raise ValueError("the request does not ask for beam search")
    ends = _end_rules(arguments, end_token_ids)
    constraint = arguments.get("structured_outputs")
    allowed = arguments.get("allowed_token_ids")
    # Of a beam's likeliest tokens so many may end it, and as many as the width must be left to go on with.
    wanted = max(2 * beams.width, beams.width + len(ends.stopping_token_ids), top_logprobs or 0)
    return BeamPlan(
        rules=BeamRules(
            width=beams.width,
            count=parameters.n,
            max_tokens=ends.max_tokens,
            length_penalty=beams.length_penalty,
            early_stopping=beams.early_stopping,
            prefers_whole=constraint is not None,
            keeps_places=top_logprobs is not None,
        ),
        ends=ends,
        candidates=min(wanted, MAX_CANDIDATES, vocabulary_size),
        top_logprobs=top_logprobs,
        allowed_token_ids=None if allowed is None else tuple(allowed),
        structured_outputs=constraint,
        text={name: arguments[name] for name in _TEXT_ARGUMENTS if name in arguments},
    )


def _end_rules(arguments: dict[str, Any], end_token_ids: Collection[int]) -> EndRules:
    stops = arguments.get("stop") or ()
    return EndRules(
        max_tokens=arguments["max_tokens"],
        min_tokens=arguments.get("min_tokens") or 0,
        end_token_ids=frozenset() if arguments.get("ignore_eos") else frozenset(end_token_ids),
        stop_token_ids=frozenset(arguments.get("stop_token_ids") or ()),
        stop_texts=(stops,) if isinstance(stops, str) else tuple(stops),
    )

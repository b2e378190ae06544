"""A request after normalisation: what every dialect parses into and every engine reads.

What stays the same from call to call (the model, the tools) is apart from what varies (the generation parameters), and
what the answer should carry (the output flags) is apart from both. A new output feature is an optional flag that is off
until it is asked for, so that an old client never meets a field it does not know.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.messages import Message

MAX_SEQUENCES = 128
MAX_STOP_SEQUENCES = 16

Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
TokenCount = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class GenerationParameters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to sample. None means the default of the model that answers.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus of probability mass to sample from.
        top_k: how many of the likeliest tokens to sample from; None or 0 is all.
        min_p: least probability, relative to the likeliest token.
        max_tokens: tokens a sequence may have; None is what the context leaves.
        n: sequences to sample.
        stop: texts that end a sequence; they are not part of it.
        seed: the same seed, prompt and parameters give the same tokens on one engine.
        presence_penalty: subtracted once from a token that was emitted before.
        frequency_penalty: subtracted for each time that a token was emitted before.
        repetition_penalty: divides the logits of tokens seen in prompt or output; 1 is none.
        provider_extensions: passed untouched to the module that talks to the engine or provider, which checks it.
    """

    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    max_tokens: TokenCount | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] = 1
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=MAX_STOP_SEQUENCES)] = ()
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    provider_extensions: dict[str, Any] = field(default_factory=dict[str, Any])


class OutputFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which optional parts the answer carries.

    Attributes:
        token_ids: each delta carries the ids of its tokens.
        usage: the answer ends with token counts.
        timings: the answer ends with how long queue, prompt and tokens took.
    """

    token_ids: bool = False
    usage: bool = False
    timings: bool = False


class ChatCompletionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One chat request, free of any vendor's words.

    Attributes:
        model: the served name.
        messages: the conversation, oldest first, at least one.
        generation_parameters: how to sample.
        output: which optional parts the answer carries.
    """

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    generation_parameters: GenerationParameters = GenerationParameters()
    output: OutputFlags = OutputFlags()


def check_request(request: ChatCompletionRequest) -> None:
    """Check what types alone can't say.

    Raises:
        HeadraceError: `invalid_request`, naming the field.
    """
    if not any(message.to_text() for message in request.messages):
        raise HeadraceError(ErrorCode.INVALID_REQUEST, "at least one message must have text", param="messages")

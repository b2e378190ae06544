"""A request after normalisation: what every dialect parses into and every engine reads.

What stays the same from call to call (the model, the tools) is apart from what varies (the generation parameters), and
what the answer should carry (the output flags) is apart from both. A new output feature is an optional flag that is off
until it is asked for, so that an old client never meets a field it does not know.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.schema.formats import ResponseFormat, TextFormat
from headrace.schema.messages import Message
from headrace.schema.tools import MAX_TOOLS, Tool, ToolChoice

MAX_SEQUENCES = 128
MAX_STOP_SEQUENCES = 16
MAX_BEAM_WIDTH = 32
MAX_TOP_LOGPROBS = 20
MAX_EMBEDDING_INPUTS = 2048

Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
TokenCount = Annotated[int, Meta(ge=1, le=2**31 - 1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Prompt = str | tuple[TokenId, ...]


class BeamSearchParams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Search for the likeliest answers, in place of sampling one; `n` of them come back, the best first.

    Attributes:
        width: how many candidates live at once, at least `n`.
        length_penalty: a score is the sum of the log probabilities divided by length to this power: above 0 favours
            long answers, below 0 short ones.
        early_stopping: True stops when `width` answers are complete; False also once no live candidate looks better
            than the worst of them, by its score so far; `never` only once none can become better.
    """

    width: Annotated[int, Meta(ge=1, le=MAX_BEAM_WIDTH)]
    length_penalty: Annotated[float, Meta(ge=-10.0, le=10.0)] = 1.0
    early_stopping: bool | Literal["never"] = False


class GenerationParameters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to sample. None means the default of the model that answers.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus of probability mass to sample from.
        top_k: how many of the likeliest tokens to sample from; None or 0 is all.
        min_p: least probability, relative to the likeliest token.
        max_tokens: tokens a sequence may have; None is what the context leaves.
        min_tokens: tokens a sequence must have before it may end by itself.
        ignore_eos: go on after the model's end token, up to `max_tokens`.
        n: sequences to return for each prompt.
        best_of: sequences to sample for each prompt, of which the `n` likeliest a token are returned; None is `n`.
        stop: texts that end a sequence; they are not part of it.
        seed: the same seed, prompt and parameters give the same tokens on one engine.
        presence_penalty: subtracted once from a token that was emitted before.
        frequency_penalty: subtracted for each time that a token was emitted before.
        repetition_penalty: divides the logits of tokens seen in prompt or output; 1 is none.
        logit_bias: added to the logits of tokens, by token id.
        beam_search: search in place of sampling.
        provider_extensions: passed untouched to the module that talks to the engine or provider, which checks it.
    """

    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    max_tokens: TokenCount | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    ignore_eos: bool = False
    n: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] = 1
    best_of: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=MAX_STOP_SEQUENCES)] = ()
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    logit_bias: dict[TokenId, Annotated[float, Meta(ge=-100.0, le=100.0)]] = {}
    beam_search: BeamSearchParams | None = None
    provider_extensions: dict[str, Any] = {}


class OutputFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which optional parts the answer carries.

    Attributes:
        reasoning: what the model thought before it answered, apart from the answer. Where it is off, the model may
            think all the same, and nobody is told what.
        logprobs: each delta carries the log probabilities of its tokens.
        top_logprobs: with `logprobs`, how many alternatives each token is shown beside.
        prompt: each prompt comes back as the engine saw it: its text and its token ids.
        prompt_logprobs: with `prompt`, how many alternatives each token of the prompt is shown beside, with its own log
            probability; None leaves the log probabilities of the prompt out.
        token_ids: each delta carries the ids of its tokens.
        usage: the answer ends with token counts.
        timings: the answer ends with how long queue, prompt and tokens took.
        queue_position: while the request waits, events say how many are ahead of it.
        signatures: what a vendor signed comes with its signature, so that it can be sent back. Those of thoughts need
            `reasoning` too. Our own models sign nothing.
    """

    token_ids: bool = False
    usage: bool = False
    timings: bool = False
    reasoning: bool = False
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] = 0
    prompt: bool = False
    prompt_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    queue_position: bool = False
    signatures: bool = False


class EmbeddingParams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ask for the embedding of each prompt, in place of an answer to it.

    Attributes:
        dimensions: length of the vectors, for models that can shorten theirs; None is the model's own.
    """

    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None


class ChatCompletionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request, free of any vendor's words.

    It has either messages, which go through the model's chat template, or prompts, which the model gets as they are.
    The sequences of prompt p have the indexes from p x n on.

    Attributes:
        model: the served name.
        messages: the conversation, oldest first.
        generation_parameters: how to sample.
        output: which optional parts the answer carries.
        tools: what the model may call.
        tool_choice: which of them it may or must call.
        response_format: what form the text must have.
        prompts: raw prompts, each a text or token ids.
        embedding: set for embeddings of the prompts.
        count_only: say how many tokens the prompt has, and generate nothing.
    """

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    messages: tuple[Message, ...] = ()
    generation_parameters: GenerationParameters = GenerationParameters()
    output: OutputFlags = OutputFlags()
    tools: Annotated[tuple[Tool, ...], Meta(max_length=MAX_TOOLS)] = ()
    tool_choice: ToolChoice = ToolChoice()
    response_format: ResponseFormat = TextFormat()
    prompts: Annotated[tuple[Prompt, ...], Meta(max_length=MAX_EMBEDDING_INPUTS)] = ()
    embedding: EmbeddingParams | None = None
    count_only: bool = False

"""How many tokens a request may use, told from its text alone.

The gateway has no tokenizer: it would need one for each model, and time for each prompt. A reservation only has to be
large enough, and is replaced by what was really used, so the guess is on the high side:

- ASCII: a token for three characters, where tokenizers have about four in English and three in code;
- other characters: a token for two bytes of UTF-8, that is one for an accented letter, two for a Chinese character or
  an emoji (rounded up over the whole text);
- a message costs eight more, for its role and the marks of the template, and an image 1,536;
- what the template writes out of tools and schemas counts like text.

Text made to have as many tokens as it can, such as digits or rare scripts, may have more. The answer is bounded by
`max_tokens`, or by what the context leaves, for each of the sequences that are sampled.
"""

import msgspec
from msgspec import Struct

from headrace.schema.events import Usage
from headrace.schema.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from headrace.schema.request import ChatCompletionRequest, GenerationParameters

ASCII_CHARACTERS_PER_TOKEN = 3
OTHER_BYTES_PER_TOKEN = 2
MESSAGE_TOKENS = 8
IMAGE_TOKENS = 1536


class EstimateLimits(Struct, frozen=True, kw_only=True):
    """What bounds an answer that the request does not bound.

    Attributes:
        context_tokens: prompt and answer together, of the model.
        assumed_output_tokens: of the answer, where the request does not say; 0 for what the context leaves.
    """

    context_tokens: int
    assumed_output_tokens: int = 0


def estimate_usage(request: ChatCompletionRequest, limits: EstimateLimits) -> Usage:
    """Return the most that a request is likely to use."""
    if request.count_only:
        return Usage(0, 0)
    prompts = [_count_prompt(prompt) for prompt in request.prompts] or [_count_conversation(request)]
    prompts = [min(prompt, limits.context_tokens) for prompt in prompts]
    if request.embedding is not None:
        return Usage(sum(prompts), 0)
    parameters = request.generation_parameters
    answers = sum(_bound_answer(parameters, prompt, limits) for prompt in prompts)
    return Usage(sum(prompts), answers * _count_sampled(parameters))


def _bound_answer(parameters: GenerationParameters, prompt_tokens: int, limits: EstimateLimits) -> int:
    room = limits.context_tokens - prompt_tokens
    if parameters.max_tokens is not None:
        # The prompt is a guess, so what it leaves is one too: a longer answer may still fit.
        return min(parameters.max_tokens, limits.context_tokens)
    return min(limits.assumed_output_tokens or room, room)


def _count_sampled(parameters: GenerationParameters) -> int:
    width = parameters.beam_search.width if parameters.beam_search is not None else 1
    return max(parameters.n, parameters.best_of or 1, width)


def _count_prompt(prompt: str | tuple[int, ...]) -> int:
    return count_text(prompt) if isinstance(prompt, str) else len(prompt)


def _count_conversation(request: ChatCompletionRequest) -> int:
    tokens = sum(_count_message(message) for message in request.messages)
    if request.tools:
        tokens += count_text(msgspec.json.encode(request.tools).decode())
    return tokens


def _count_message(message: Message) -> int:
    tokens = MESSAGE_TOKENS + (count_text(message.name) if message.name else 0)
    if isinstance(message.content, str):
        return tokens + count_text(message.content)
    for part in message.content:
        match part:
            case TextPart() | ReasoningPart():
                tokens += count_text(part.text)
            case ImagePart():
                tokens += IMAGE_TOKENS
            case ToolCallPart():
                tokens += MESSAGE_TOKENS + count_text(part.name) + count_text(part.arguments)
            case ToolResultPart():
                tokens += MESSAGE_TOKENS + count_text(part.to_text())
                if not isinstance(part.content, str):
                    tokens += IMAGE_TOKENS * sum(isinstance(item, ImagePart) for item in part.content)
    return tokens


def count_text(text: str) -> int:
    """Return about how many tokens a text has, rather too many than too few."""
    if text.isascii():
        return -(-len(text) // ASCII_CHARACTERS_PER_TOKEN)
    ascii_characters = len(text.encode("ascii", "ignore"))
    other_bytes = len(text.encode("utf-8", "replace")) - ascii_characters
    return -(-ascii_characters // ASCII_CHARACTERS_PER_TOKEN) + -(-other_bytes // OTHER_BYTES_PER_TOKEN)

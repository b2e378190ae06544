"""Log probabilities in OpenAI's words, and those of the prompt in vLLM's."""

from collections.abc import Sequence

from headrace.gateway.dialects.openai.chat.answers import ChoiceLogprobs, ContentLogprob, PromptLogprob, TopLogprob
from headrace.schema.events import PromptEchoed, TokenLogprob


def to_logprobs(logprobs: Sequence[TokenLogprob] | None) -> ChoiceLogprobs | None:
    """Return the log probabilities of a choice, or None where there are none."""
    return None if logprobs is None else ChoiceLogprobs(content=tuple(_to_content(item) for item in logprobs))


def _to_content(item: TokenLogprob) -> ContentLogprob:
    return ContentLogprob(
        token=item.text,
        logprob=item.logprob,
        bytes=_bytes_of(item),
        top_logprobs=tuple(
            TopLogprob(token=other.text, logprob=other.logprob, bytes=_bytes_of(other)) for other in item.top
        ),
    )


def _bytes_of(item: TokenLogprob) -> tuple[int, ...]:
    return tuple(item.text.encode() if item.raw is None else item.raw)


def to_prompt_logprobs(prompt: PromptEchoed) -> tuple[dict[str, PromptLogprob] | None, ...]:
    """Return, for each token of a prompt, what could stand there by token id; the first token has None."""
    return tuple(None if item is None else _to_place(item) for item in prompt.logprobs or ())


def _to_place(item: TokenLogprob) -> dict[str, PromptLogprob]:
    ranks = {other.token_id: rank for rank, other in enumerate(item.top, start=1)}
    return {
        str(one.token_id): PromptLogprob(logprob=one.logprob, rank=ranks.get(one.token_id), decoded_token=one.text)
        for one in (item, *item.top)
    }

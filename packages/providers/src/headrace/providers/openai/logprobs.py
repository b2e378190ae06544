"""Log probabilities from OpenAI's two forms. Neither has the ids of tokens, so an id is -1."""

from headrace.providers.openai.wire import ChatLogprobs, CompletionLogprobs, TopToken
from headrace.schema.events import TokenLogprob

UNKNOWN_ID = -1
_IMPOSSIBLE = -9999.0


def to_chat_logprobs(logprobs: ChatLogprobs) -> tuple[TokenLogprob, ...] | None:
    """Return the log probabilities of a piece of a chat, or None where it has none."""
    if logprobs.content is None:
        return None
    return tuple(
        _to_token(item, tuple([_to_token(top, ()) for top in item.top_logprobs or ()])) for item in logprobs.content
    )


def _to_token(item: TopToken, top: tuple[TokenLogprob, ...]) -> TokenLogprob:
    raw = None if item.bytes is None else bytes([byte & 0xFF for byte in item.bytes])
    return TokenLogprob(UNKNOWN_ID, item.token, item.logprob, raw, top)


def to_completion_logprobs(logprobs: CompletionLogprobs) -> tuple[TokenLogprob, ...]:
    """Return the log probabilities of a piece of a completion."""
    tops = logprobs.top_logprobs or []
    return tuple(
        TokenLogprob(
            UNKNOWN_ID,
            token,
            _IMPOSSIBLE if logprob is None else logprob,
            None,
            _to_top(tops[i] if i < len(tops) else None),
        )
        for i, (token, logprob) in enumerate(zip(logprobs.tokens, logprobs.token_logprobs, strict=False))
    )


def _to_top(tops: dict[str, float] | None) -> tuple[TokenLogprob, ...]:
    likeliest = sorted((tops or {}).items(), key=lambda item: -item[1])
    return tuple(TokenLogprob(UNKNOWN_ID, token, logprob) for token, logprob in likeliest)

"""When a beam ends: by a token, by a text, or by its length."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from headrace.worker.engines.vllm.beam.search import Beam, Ending, Expansion

# A token has at least a byte, and a character at most four. More tokens than that before the last one can hold no
# part of a stop text that the last one completes, but a few empty ones may lie between.
_BYTES_PER_CHARACTER = 4
_SPARE_TOKENS = 8


class EndRules(Struct, frozen=True, kw_only=True):
    """What ends a beam.

    Attributes:
        max_tokens: longest answer.
        min_tokens: no answer ends by itself before it has more than these.
        end_token_ids: the model's own end tokens; none where they are to be ignored.
        stop_token_ids: further tokens that end an answer.
        stop_texts: texts that do.
    """

    max_tokens: int
    min_tokens: int = 0
    end_token_ids: frozenset[int] = frozenset()
    stop_token_ids: frozenset[int] = frozenset()
    stop_texts: tuple[str, ...] = ()

    @property
    def stopping_token_ids(self) -> frozenset[int]:
        """Every token that ends an answer."""
        return self.end_token_ids | self.stop_token_ids


def find_ending(beam: Beam, rules: EndRules, decode: Callable[[Sequence[int]], str]) -> Ending | None:
    """Return how a beam ends with its last token, or None.

    Args:
        beam: it has at least one token.
        rules: what ends it.
        decode: tokens to text.
    """
    last = beam.token_ids[-1]
    if last in rules.end_token_ids:
        return Ending("stop")
    if last in rules.stop_token_ids:
        return Ending("stop", last)
    if rules.stop_texts and len(beam.token_ids) > rules.min_tokens:
        stop = find_stop_text(beam.token_ids, rules.stop_texts, decode)
        if stop is not None:
            return Ending("stop", stop)
    return Ending("length") if len(beam.token_ids) >= rules.max_tokens else None


def find_stop_text(
    token_ids: Sequence[int], stop_texts: Sequence[str], decode: Callable[[Sequence[int]], str]
) -> str | None:
    """Return the stop text that the last token completes, if it completes one."""
    window = token_ids[-(_BYTES_PER_CHARACTER * max(map(len, stop_texts)) + _SPARE_TOKENS) :]
    # What a broken character decodes to is replaced when the token that completes it comes.
    before = len(decode(window[:-1]).rstrip("\ufffd"))
    text = decode(window)
    ends = {
        stop: start + len(stop)
        for stop in stop_texts
        if (start := text.find(stop, max(0, before - len(stop) + 1))) >= 0
    }
    # Of two that end at once, the first in the request's list, as vLLM does it.
    return min(ends, key=ends.__getitem__, default=None)


def drop_early_endings(expansion: Expansion, beam: Beam, rules: EndRules) -> Expansion:
    """Return what may follow a beam without the tokens that would end it before its least length."""
    if len(beam.token_ids) >= rules.min_tokens or not rules.stopping_token_ids:
        return expansion
    pairs = zip(expansion.token_ids, expansion.logprobs, strict=True)
    kept = [pair for pair in pairs if pair[0] not in rules.stopping_token_ids]
    return Expansion(tuple(token_id for token_id, _ in kept), tuple(logprob for _, logprob in kept))

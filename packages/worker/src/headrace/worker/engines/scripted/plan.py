"""What a sequence will say, worked out before its first token.

A script knows its whole text, so stop texts, limits and the choice between texts are decided here once, as plain
functions of values, and a step of the engine has nothing left to do but count.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

from msgspec import Struct

from headrace.schema.events import FinishReason
from headrace.schema.request import GenerationParameters
from headrace.worker.engines.scripted.script import Answer

_TOKEN = re.compile(r"\s*\S+|\s+")
_WORDS = (
    " water", " over", " the", " wheel", " turns", " slow", " or", " fast,", " a", " stream", " finds", " its", " way",
    " through", " stone", " and", " gate;", " light", " falls", " on", " moss,", " then", " all", " is", " still.",
    " Rain", " again", " fills", " every", " channel", " below.",
)  # fmt: skip
_TOKEN_IDS = 50_000


class SequencePlan(Struct, frozen=True):
    """All that one sequence will say.

    Attributes:
        texts: the text of each token, cut where a stop text begins.
        length: tokens it has; `texts` may hold more.
        finish_reason: `stop` or `length`.
        stop_sequence: the stop text that ended it.
    """

    texts: Sequence[str]
    length: int
    finish_reason: FinishReason
    stop_sequence: str | None = None

    def text_between(self, start: int, end: int) -> str:
        """Return the text of the tokens from `start` up to `end`."""
        return self.texts[start] if end - start == 1 else "".join(self.texts[start:end])

    def token_ids_between(self, start: int, end: int) -> tuple[int, ...]:
        """Return made-up ids of the tokens from `start` up to `end`: the same text has the same id."""
        return tuple(crc32(text.encode()) % _TOKEN_IDS for text in self.texts[start:end])


@lru_cache(maxsize=256)
def split_tokens(text: str) -> tuple[str, ...]:
    """Split a text into words, each with the white space before it; joined they are the text."""
    return tuple(_TOKEN.findall(text))


@lru_cache(maxsize=256)
def generate_tokens(count: int, start: int) -> tuple[str, ...]:
    """Return this many words out of a fixed circle of them, from `start` on."""
    return tuple(_WORDS[(start + i) % len(_WORDS)] for i in range(count))


def plan_sequence(tokens: Sequence[str], *, limit: int, stop: Sequence[str]) -> SequencePlan:
    """Cut tokens at a limit and at stop texts.

    Args:
        tokens: all that the sequence would say.
        limit: tokens that it may have.
        stop: texts that end it. Of several the one that is complete first counts, then the longest.
    """
    length = min(len(tokens), limit)
    if stop and (cut := _find_stop("".join(tokens[:length]), stop)):
        stop_sequence, begin, end = cut
        return _cut_at(tokens, stop_sequence, begin=begin, end=end)
    return SequencePlan(tokens, length, "stop" if length == len(tokens) else "length")


def _find_stop(text: str, stop: Sequence[str]) -> tuple[str, int, int] | None:
    found = [(begin + len(wanted), begin, wanted) for wanted in stop if (begin := text.find(wanted)) >= 0]
    if not found:
        return None
    end, begin, wanted = min(found)
    return wanted, begin, end


def _cut_at(tokens: Sequence[str], stop_sequence: str, *, begin: int, end: int) -> SequencePlan:
    texts: list[str] = []
    position = 0
    for token in tokens:
        texts.append(token[: max(0, begin - position)])
        position += len(token)
        if position >= end:
            break
    return SequencePlan(texts, len(texts), "stop", stop_sequence)


def plan_answer(answer: Answer, parameters: GenerationParameters, *, limit: int, turn: int) -> tuple[SequencePlan, ...]:
    """Plan every sequence of a generation.

    Args:
        answer: what the script says.
        parameters: of the request.
        limit: tokens that a sequence may have.
        turn: counts up from one job to the next; it chooses where neither a seed nor temperature 0 does.
    """
    if parameters.seed is not None:
        turn = parameters.seed
    elif parameters.temperature == 0:
        turn = 0
    plans: list[SequencePlan] = []
    for index in range(parameters.n):
        choice = turn + index
        if answer.tokens is None:
            tokens = split_tokens(answer.texts[choice % len(answer.texts)])
        else:
            # No more than the limit is ever said, and one more tells `length` from `stop`.
            tokens = generate_tokens(min(answer.tokens, limit + 1), choice % len(_WORDS))
        plans.append(plan_sequence(tokens, limit=limit, stop=parameters.stop))
    return tuple(plans)

"""What a sequence will say, worked out before its first token.

A script knows its whole answer, so stop texts, limits and the choice between texts are decided here once, as plain
functions of values, and a step of the engine has nothing left to do but count.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from headrace.schema.events import FinishReason
from headrace.schema.request import GenerationParameters
from headrace.worker.engines.scripted.form import PlannedCall
from headrace.worker.engines.scripted.script import Answer
from headrace.worker.engines.scripted.tokens import WORDS, generate_tokens, make_token_id, split_json, split_tokens


class Segment(Struct, frozen=True):
    """A run of tokens of one kind.

    Attributes:
        kind: what they are.
        start: the first of them.
        end: where they end.
        call: the number of the tool call that they are the arguments of.
        name: its tool.
    """

    kind: Literal["reasoning", "text", "call"]
    start: int
    end: int
    call: int = 0
    name: str = ""


class SequencePlan(Struct, frozen=True):
    """All that one sequence will say.

    Attributes:
        texts: the text of each token, cut where a stop text begins.
        length: tokens it has; `texts` may hold more.
        finish_reason: `stop`, `length` or `tool_calls`.
        stop_sequence: the stop text that ended it.
        segments: which tokens are what, in order; empty where all are text.
    """

    texts: Sequence[str]
    length: int
    finish_reason: FinishReason
    stop_sequence: str | None = None
    segments: tuple[Segment, ...] = ()

    def text_between(self, start: int, end: int) -> str:
        """Return the text of the tokens from `start` up to `end`."""
        return self.texts[start] if end - start == 1 else "".join(self.texts[start:end])

    def token_ids_between(self, start: int, end: int) -> tuple[int, ...]:
        """Return made-up ids of the tokens from `start` up to `end`: the same text has the same id."""
        return tuple(make_token_id(text) for text in self.texts[start:end])

    def reasoning_tokens_until(self, end: int) -> int:
        """Return how many of the tokens up to `end` are reasoning."""
        return sum(max(0, min(part.end, end) - part.start) for part in self.segments if part.kind == "reasoning")


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


def plan_thoughts_and_calls(
    thoughts: Sequence[str], tokens: Sequence[str], calls: Sequence[PlannedCall], *, limit: int, stop: Sequence[str]
) -> SequencePlan:
    """Plan a sequence that thinks, then speaks, then calls; stop texts end what it speaks."""
    said = plan_sequence(tokens, limit=max(0, limit - len(thoughts)), stop=stop)
    texts = [*thoughts[:limit], *said.texts[: said.length]]
    segments = [
        Segment("reasoning", 0, min(len(thoughts), limit)),
        Segment("text", min(len(thoughts), limit), len(texts)),
    ]
    is_cut = len(thoughts) > limit or said.finish_reason == "length"
    reason: FinishReason = "length" if is_cut else "stop"
    if calls and not is_cut and said.stop_sequence is None:
        for number, call in enumerate(calls):
            start = len(texts)
            texts += split_json(call.arguments)
            segments.append(Segment("call", min(start, limit), min(len(texts), limit), number, call.name))
        reason = "length" if len(texts) > limit else "tool_calls"
        texts = texts[:limit]
    kept = tuple(part for part in segments if part.end > part.start)
    return SequencePlan(texts, len(texts), reason, said.stop_sequence, kept)


def plan_answer(
    answer: Answer,
    parameters: GenerationParameters,
    *,
    limit: int,
    turn: int,
    texts: Sequence[str] | None = None,
    calls: Sequence[PlannedCall] = (),
) -> tuple[SequencePlan, ...]:
    """Plan every sequence of one prompt.

    Args:
        answer: what the script says.
        parameters: of the request.
        limit: tokens that a sequence may have.
        turn: counts up from one job to the next; it chooses where neither a seed nor temperature 0 does.
        texts: to choose from in place of the script's words, where those must have a form.
        calls: what each sequence calls at its end.
    """
    if parameters.seed is not None:
        turn = parameters.seed
    elif parameters.temperature == 0 or parameters.beam_search is not None:
        turn = 0
    thoughts = split_tokens(answer.reasoning)
    plans: list[SequencePlan] = []
    for choice in range(turn, turn + parameters.n):
        if texts is not None:
            tokens = split_json(texts[choice % len(texts)])
        else:
            tokens = _choose_words(answer, parameters, limit=limit, choice=choice)
        if thoughts or calls:
            plans.append(plan_thoughts_and_calls(thoughts, tokens, calls, limit=limit, stop=parameters.stop))
        else:
            plans.append(plan_sequence(tokens, limit=limit, stop=parameters.stop))
    return tuple(plans)


def _choose_words(answer: Answer, parameters: GenerationParameters, *, limit: int, choice: int) -> Sequence[str]:
    # No more than the limit is ever said, and one more tells `length` from `stop`.
    most = limit + 1
    if answer.tokens is None:
        tokens = split_tokens(answer.texts[choice % len(answer.texts)])
    else:
        tokens = generate_tokens(min(answer.tokens, most), choice % len(WORDS))
    least = most if parameters.ignore_eos else min(parameters.min_tokens or 0, most)
    return tokens if least <= len(tokens) else (*tokens, *generate_tokens(least - len(tokens), choice % len(WORDS)))

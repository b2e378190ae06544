"""Log probabilities in the words of the older API: four lists, and where each token lies in the text."""

from collections.abc import Iterable, Sequence

from headrace.gateway.dialects.openai.completions.answers import CompletionLogprobs
from headrace.schema.events import PromptEchoed, TokenLogprob

_REPLACEMENT = "\ufffd"
# How far from its place a token of a prompt is looked for, where the text differs from what its tokens say.
_SLACK_BYTES = 16


class SequenceLogprobs:
    """Tells the log probabilities of a sequence piece by piece; any pieces give the same lists.

    Args:
        start: how many characters the choice has before what is generated.
        top: how many alternatives are shown.
    """

    __slots__ = ("_characters", "_top")

    def __init__(self, *, start: int, top: int) -> None:
        self._characters = start
        self._top = top

    def take(self, items: Sequence[TokenLogprob]) -> CompletionLogprobs:
        """Return the lists of the next tokens."""
        return CompletionLogprobs(
            tokens=[_name(item) for item in items],
            token_logprobs=[item.logprob for item in items],
            top_logprobs=[_to_top(item, self._top) for item in items],
            text_offset=[self._place(item) for item in items],
        )

    def _place(self, item: TokenLogprob) -> int:
        piece = _bytes_of(item)
        # A token that begins inside a character lies where that character does.
        place = self._characters - _begins_inside(piece)
        self._characters += _count_characters(piece)
        return place


def to_prompt_lists(prompt: PromptEchoed, text: str, *, top: int) -> CompletionLogprobs:
    """Return the lists of the tokens of a prompt.

    Args:
        prompt: as the engine saw it.
        text: as it is shown; tokens that are not in it, like one that marks the beginning, have no length.
        top: how many alternatives are shown.
    """
    items = prompt.logprobs or ()
    starts = _find_tokens(text.encode(), items)
    offsets = _to_characters(text.encode(), starts)
    first = text[: offsets[1]] if len(offsets) > 1 else text
    return CompletionLogprobs(
        tokens=[first if item is None else _name(item) for item in items],
        token_logprobs=[None if item is None else item.logprob for item in items],
        top_logprobs=[None if item is None else _to_top(item, top) for item in items],
        text_offset=offsets,
    )


def join_lists(first: CompletionLogprobs, second: CompletionLogprobs) -> CompletionLogprobs:
    """Return the lists of two runs of tokens as those of one."""
    return CompletionLogprobs(
        tokens=first.tokens + second.tokens,
        token_logprobs=first.token_logprobs + second.token_logprobs,
        top_logprobs=first.top_logprobs + second.top_logprobs,
        text_offset=first.text_offset + second.text_offset,
    )


def _find_tokens(text: bytes, items: Sequence[TokenLogprob | None]) -> list[int]:
    """Return the byte at which each token begins.

    They are looked for from the end: the text of the first token is not known, so it is what the others leave.
    """
    starts: list[int] = []
    end = len(text)
    for item in reversed(items):
        if item is None:
            starts.append(0)
            continue
        piece = _bytes_of(item)
        if text.endswith(piece, 0, end):
            end -= len(piece)
        else:
            found = text.rfind(piece, max(0, end - len(piece) - _SLACK_BYTES), end)
            end = found if found >= 0 else end
        starts.append(end)
    return starts[::-1]


def _to_characters(text: bytes, starts: Iterable[int]) -> list[int]:
    """Return the character that each byte belongs to; the bytes are in order."""
    places: list[int] = []
    characters = last = 0
    for start in starts:
        characters += _count_characters(text[last:start])
        last = start
        places.append(characters - _begins_inside(text[start : start + 1]))
    return places


def _count_characters(piece: bytes) -> int:
    """Return how many characters begin in a piece of UTF-8."""
    return len(piece) if piece.isascii() else sum(byte & 0xC0 != 0x80 for byte in piece)


def _begins_inside(piece: bytes) -> bool:
    """Tell whether a piece of UTF-8 begins inside a character."""
    return bool(piece) and piece[0] & 0xC0 == 0x80


def _bytes_of(item: TokenLogprob) -> bytes:
    return item.text.encode() if item.raw is None else item.raw


def _to_top(item: TokenLogprob, top: int) -> dict[str, float]:
    """Return the likeliest tokens and the one that came; of two that read the same, the likelier is shown."""
    shown: dict[str, float] = {}
    for other in item.top[:top]:
        shown.setdefault(_name(other), other.logprob)
    shown.setdefault(_name(item), item.logprob)
    return shown


def _name(item: TokenLogprob) -> str:
    """Return a token as text, with its bytes spelled out where it is a part of a character, as OpenAI's is."""
    if _REPLACEMENT not in item.text or item.raw is None:
        return item.text
    try:
        return item.raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join([f"\\x{byte:02x}" for byte in item.raw])

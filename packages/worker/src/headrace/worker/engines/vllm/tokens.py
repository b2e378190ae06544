"""What single tokens look like: as text, and as the bytes that they stand for where those are no whole characters."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from headrace.schema.events import TokenLogprob

NO_LOGPROB = -9999.0

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_METASPACE = "\u2581"
_FIRST_STAND_IN = 0x100

# How a vocabulary writes bytes: one stand-in character for each, only those that are no text, or not at all.
Alphabet = Literal["byte-level", "byte-fallback", "text"]


class LogprobEntry(Protocol):
    """What vLLM says of a token at a place; its `Logprob`."""

    @property
    def logprob(self) -> float:
        """Natural logarithm of its probability."""
        ...

    @property
    def rank(self) -> int | None:
        """1 for the likeliest."""
        ...


# By token id, at one place.
Place = Mapping[int, LogprobEntry]


class TokenTable:
    """Shows tokens; what was shown once is kept.

    Args:
        piece_of: returns a token as the vocabulary writes it; None for what it does not have.
        special: tokens that are written as they are, special ones and added ones.
        alphabet: how the vocabulary writes bytes.
    """

    def __init__(self, piece_of: Callable[[int], str | None], special: frozenset[int], alphabet: Alphabet) -> None:
        self._piece_of = piece_of
        self._special = special
        self._alphabet = alphabet
        self._shown: dict[int, tuple[str, bytes | None]] = {}

    def show(self, token_id: int) -> tuple[str, bytes | None]:
        """Return a token's text, and its bytes where the text can't say them."""
        if (shown := self._shown.get(token_id)) is None:
            data = self.bytes_of(token_id)
            text = data.decode(errors="replace")
            shown = self._shown[token_id] = text, None if text.encode() == data else data
        return shown

    def bytes_of(self, token_id: int) -> bytes:
        """Return what a token stands for."""
        piece = self._piece_of(token_id) or ""
        if token_id in self._special:
            return piece.encode(errors="replace")
        if self._alphabet == "byte-level":
            return b"".join(_STAND_INS.get(character) or character.encode() for character in piece)
        if self._alphabet == "byte-fallback" and (match := _BYTE_TOKEN.fullmatch(piece)):
            return bytes.fromhex(match[1])
        return piece.replace(_METASPACE, " ").encode(errors="replace")

    def show_sampled(self, token_ids: Sequence[int], places: Sequence[Place], *, top: int) -> tuple[TokenLogprob, ...]:
        """Return tokens with their log probabilities.

        Args:
            token_ids: the tokens.
            places: what was likely at the place of each.
            top: how many of the likeliest to show beside each.
        """
        return tuple(self._show(token_id, place, top) for token_id, place in zip(token_ids, places, strict=False))

    def show_prompt(
        self, token_ids: Sequence[int], places: Sequence[Place | None], *, top: int
    ) -> tuple[TokenLogprob | None, ...]:
        """Return the tokens of a prompt with their log probabilities; None for what follows nothing."""
        return tuple(
            None if not place else self._show(token_id, place, top)
            for token_id, place in zip(token_ids, places, strict=False)
        )

    def _show(self, token_id: int, place: Place, top: int) -> TokenLogprob:
        return self._entry(token_id, place[token_id], self._likeliest(place, top) if top else ())

    def _likeliest(self, place: Place, top: int) -> tuple[TokenLogprob, ...]:
        ranked = sorted(place.items(), key=_order_of)[:top]
        return tuple(self._entry(token_id, entry, ()) for token_id, entry in ranked)

    def _entry(self, token_id: int, entry: LogprobEntry, top: tuple[TokenLogprob, ...]) -> TokenLogprob:
        text, raw = self.show(token_id)
        logprob = entry.logprob if math.isfinite(entry.logprob) else NO_LOGPROB
        return TokenLogprob(token_id, text, max(min(logprob, 0.0), NO_LOGPROB), raw, top)


def _order_of(pair: tuple[int, LogprobEntry]) -> tuple[float, int]:
    return -pair[1].logprob, pair[1].rank or 0


def find_alphabet(decoder: str) -> Alphabet:
    """Return how a vocabulary writes bytes, from what its decoder calls itself."""
    if "ByteLevel" in decoder:
        return "byte-level"
    return "byte-fallback" if "ByteFallback" in decoder else "text"


def _list_stand_ins() -> dict[str, bytes]:
    # Printable bytes stand for themselves, the others for the characters from U+0100 on, in order.
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    stand_ins = {chr(byte): bytes([byte]) for byte in printable}
    return stand_ins | {chr(_FIRST_STAND_IN + i): bytes([byte]) for i, byte in enumerate(others)}


_STAND_INS = _list_stand_ins()

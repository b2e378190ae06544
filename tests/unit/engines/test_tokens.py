"""What single tokens look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from tokenizers.pre_tokenizers import ByteLevel

from headrace.worker.engines.vllm.tokens import NO_LOGPROB, Alphabet, TokenTable, find_alphabet


class Entry(Struct):
    logprob: float
    rank: int | None = None


def table(*pieces: str, alphabet: Alphabet = "byte-level", special: frozenset[int] = frozenset()) -> TokenTable:
    return TokenTable(dict(enumerate(pieces)).get, special, alphabet)


@given(st.text(min_size=1, max_size=5).map(str.encode).filter(bool))
def test_the_byte_level_alphabet_is_that_of_the_tokenizers_library(data: bytes) -> None:
    text = data.decode()
    pieces = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    written = "".join(piece for piece, _ in pieces)
    assert table(written).show(0) == (text, None)


def test_a_piece_of_a_character_has_its_bytes() -> None:
    # The two bytes of an é, as the alphabet writes them.
    tokens = table("\u00c3", "\u00a9", "\u00c3\u00a9")
    assert tokens.show(0) == ("\ufffd", b"\xc3")
    assert tokens.show(1) == ("\ufffd", b"\xa9")
    assert tokens.show(2) == ("é", None)


@pytest.mark.parametrize(
    ("piece", "alphabet", "shown"),
    [
        ("\u0120the", "byte-level", (" the", None)),
        ("\u2581the", "byte-fallback", (" the", None)),
        ("<0xE3>", "byte-fallback", ("\ufffd", b"\xe3")),
        ("<0x41>", "byte-fallback", ("A", None)),
        ("<0xE3>", "text", ("<0xE3>", None)),
    ],
)
def test_other_alphabets(piece: str, alphabet: Alphabet, shown: tuple[str, bytes | None]) -> None:
    assert table(piece, alphabet=alphabet).show(0) == shown


def test_special_tokens_are_written_as_they_are() -> None:
    assert table("<|\u0120end|>", special=frozenset({0})).show(0) == ("<|\u0120end|>", None)
    assert table().show(7) == ("", None)


@pytest.mark.parametrize(
    ("decoder", "alphabet"),
    [
        ("ByteLevel(add_prefix_space=True)", "byte-level"),
        ("Sequence(decoders=[ByteFallback(), Fuse()])", "byte-fallback"),
        ("None", "text"),
    ],
)
def test_the_alphabet_is_told_by_the_decoder(decoder: str, alphabet: Alphabet) -> None:
    assert find_alphabet(decoder) == alphabet


def test_log_probabilities_come_likeliest_first_and_finite() -> None:
    tokens = table("a", "b", "c")
    place = {2: Entry(float("-inf"), 9), 0: Entry(-0.5, 1), 1: Entry(-1.0, 2)}
    (shown,) = tokens.show_sampled([2], [place], top=2)
    assert (shown.token_id, shown.text, shown.logprob) == (2, "c", NO_LOGPROB)
    assert [(entry.token_id, entry.logprob) for entry in shown.top] == [(0, -0.5), (1, -1.0)]
    assert tokens.show_sampled([0], [place], top=0)[0].top == ()


def test_the_first_token_of_a_prompt_follows_nothing() -> None:
    shown = table("a", "b").show_prompt([0, 1], [None, {1: Entry(-2.0, 1)}], top=1)
    assert shown[0] is None
    assert shown[1] is not None
    assert shown[1].logprob == -2.0

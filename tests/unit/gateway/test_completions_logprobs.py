"""Where tokens lie in the text, and what they are called."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.dialects.openai.completions.logprobs import SequenceLogprobs, join_lists, to_prompt_lists
from headrace.schema.events import PromptEchoed, TokenLogprob
from tests.unit.gateway.completions import token

CAFE = "caf\u00e9 \U0001f600"


def part(raw: bytes, text: str = "\ufffd") -> TokenLogprob:
    """A token that is a part of a character."""
    return TokenLogprob(9, text, -1.0, raw)


def echoed(text: str, *items: TokenLogprob | None) -> PromptEchoed:
    return PromptEchoed(0, text, tuple(range(len(items))), items)


def test_tokens_lie_one_behind_the_other() -> None:
    found = SequenceLogprobs(start=0, top=0).take([token("Hel"), token("lo"), token(" you")])
    assert found.text_offset == [0, 3, 5]
    assert found.tokens == ["Hel", "lo", " you"]


def test_a_part_of_a_character_lies_where_the_character_does() -> None:
    smile = "\U0001f600".encode()
    items = [token("a"), part(smile[:2]), part(smile[2:]), token("b"), part(b" " + smile[:1]), part(smile[1:])]
    found = SequenceLogprobs(start=10, top=0).take(items)
    assert found.text_offset == [10, 11, 11, 12, 13, 14]
    assert found.tokens[1:3] == [r"bytes:\xf0\x9f", r"bytes:\x98\x80"]


def test_parts_of_characters_are_told_apart() -> None:
    top = (part(b"\xf0\x9f"), TokenLogprob(3, "\ufffd", -2.0, b"\xe2\x80"))
    (found,) = SequenceLogprobs(start=0, top=2).take([TokenLogprob(1, "a", -3.0, b"a", top)]).top_logprobs
    assert found == {r"bytes:\xf0\x9f": -1.0, r"bytes:\xe2\x80": -2.0, "a": -3.0}


def test_a_replacement_character_that_is_meant_is_text() -> None:
    assert SequenceLogprobs(start=0, top=0).take([token("\ufffd"), TokenLogprob(1, "\ufffd", -1.0)]).tokens == [
        "\ufffd",
        "\ufffd",
    ]


def test_the_token_itself_is_always_shown() -> None:
    likely = (TokenLogprob(1, "a", -0.1), TokenLogprob(2, "b", -0.2), TokenLogprob(3, "c", -0.3))
    item = TokenLogprob(9, "z", -5.0, b"z", likely)
    tops = [SequenceLogprobs(start=0, top=top).take([item]).top_logprobs[0] for top in (0, 1, 3)]
    assert tops == [{"z": -5.0}, {"a": -0.1, "z": -5.0}, {"a": -0.1, "b": -0.2, "c": -0.3, "z": -5.0}]


def test_the_likelier_of_two_that_read_the_same_is_shown() -> None:
    item = TokenLogprob(9, "a", -5.0, b"a", (TokenLogprob(1, "a", -0.1),))
    assert SequenceLogprobs(start=0, top=1).take([item]).top_logprobs == [{"a": -0.1}]


def test_the_first_token_of_a_prompt_has_no_log_probability() -> None:
    found = to_prompt_lists(echoed("Hello you", None, token("lo"), token(" you")), "Hello you", top=1)
    assert found.tokens == ["Hel", "lo", " you"]
    assert found.token_logprobs == [None, -0.5, -0.5]
    assert found.top_logprobs == [None, {"lo": -0.5}, {" you": -0.5}]
    assert found.text_offset == [0, 3, 5]


def test_tokens_that_the_text_does_not_have_take_no_room() -> None:
    items = (None, token("Hi"), token("<|sep|>"), token(" you"))
    found = to_prompt_lists(echoed("<s>Hi<|sep|> you", *items), "Hi you", top=0)
    assert found.text_offset == [0, 0, 2, 2]
    assert found.tokens == ["", "Hi", "<|sep|>", " you"]


def test_a_prompt_of_one_token() -> None:
    assert to_prompt_lists(echoed(CAFE, None), CAFE, top=0).tokens == [CAFE]


def test_a_text_that_differs_from_its_tokens_is_found_again() -> None:
    """Some tokenizers lose a space, or write characters in another way."""
    items = (None, token("world"), token("e\u0301"), token("!"), token(" and"), token(" on"))
    text = "Hello world\u00e9! and on"
    found = to_prompt_lists(echoed(text, *items), text, top=0)
    assert found.text_offset == [0, 6, 12, 12, 13, 17]
    assert found.tokens[0] == "Hello "


@given(st.text(max_size=20), st.data())
def test_any_cut_of_a_text_is_placed_right(text: str, data: st.DataObject) -> None:
    """Tokens may end anywhere, also inside a character."""
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)) | {0, len(raw)})
    pieces = [raw[a:b] for a, b in pairwise(cuts)] or [b""]
    items = [TokenLogprob(i, piece.decode(errors="replace"), -1.0, piece) for i, piece in enumerate(pieces)]
    expected = [len(raw[: raw_start(raw, cut)].decode()) for cut in cuts[: len(pieces)]]
    assert SequenceLogprobs(start=0, top=0).take(items).text_offset == expected
    assert to_prompt_lists(echoed(text, None, *items[1:]), text, top=0).text_offset == expected


def raw_start(raw: bytes, cut: int) -> int:
    """Return where the character begins that a byte belongs to."""
    while cut < len(raw) and cut > 0 and raw[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


@given(st.lists(st.text(max_size=3), max_size=8), st.integers(0, 8))
def test_any_pieces_give_the_same_lists(texts: list[str], cut: int) -> None:
    items = [token(text) for text in texts]
    one, two = SequenceLogprobs(start=3, top=0), SequenceLogprobs(start=3, top=0)
    assert join_lists(two.take(items[:cut]), two.take(items[cut:])) == one.take(items)

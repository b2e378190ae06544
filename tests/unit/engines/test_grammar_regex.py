"""Regular expressions as grammars: they match whole texts, and say what they can't do. The oracle is `re`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import ChoiceFormat, GrammarFormat, JsonObjectFormat, RegexFormat, TextFormat
from headrace.worker.engines.vllm.grammar.forms import write_format
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError
from headrace.worker.engines.vllm.grammar.regex import measure, parse_regex, shorten
from tests.unit.engines.grammar_walks import accepts, walk

PATTERNS = [
    "\\d{3}-\\d{4}",
    "(foo|bar)+x?",
    "^[^a-c\\s]{2,4}$",
    "(?:a|(?P<name>b))c*",
    "a.b",
    "^(yes|no)$|^maybe$",
    "\\w+@\\w+\\.com",
    "[\\]\\-x]{2}",
    "x{0}y",
    "(ab){2,}",
    "é{1,2}日",
    "(((((a*)*)*)*)*)*",
    "\\x41\\u00e9",
    "a{,3}b",
]


@pytest.mark.engine
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_written_matches_as_a_whole(pattern: str) -> None:
    grammar = write_format(RegexFormat(pattern))
    assert grammar is not None
    texts = [text for seed in range(15) if (text := walk(grammar, seed=seed, tokens=120)) is not None]
    assert texts
    for text in texts:
        # `.` and the classes are ASCII's or narrower; {,3} is a text in most dialects.
        assert re.fullmatch(pattern.replace("{,3}", "\\{,3\\}"), text), text


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=b)", "looks around itself"),
        ("(?<!a)b", "looks around itself"),
        ("(?i)a", "sets options"),
        ("(a)\\1", "\\1, which is not supported"),
        ("\\bword", "\\b, which is not supported"),
        ("\\p{L}", "\\p, which is not supported"),
        ("[[:alpha:]]", "POSIX class"),
        ("a^b", "an anchor (^ or $) in its middle"),
        ("a$b", "an anchor (^ or $) in its middle"),
        ("[", "ends too early"),
        ("(a", "lacks a )"),
        ("a)", "a ) too many"),
        ("*a", "repeats nothing"),
        ("^*", "repeats an anchor"),
        ("a++", "possessive"),
        ("[]", "an empty set"),
        ("[z-a]", "a range whose end lies before"),
        ("a{3,2}", "a repetition whose end lies before"),
        ("a{5000}", "repeats more than"),
        ("((a{1,1000}){1,1000}b){1,1000}", "repeats too much"),
        ("(" * 100 + "a" + ")" * 100, "nested too deeply"),
        ("a" * 5000, "more than 4096 characters"),
        ("\\", "ends too early"),
        ("\\xzz", "a character code that is none"),
        ("\\u{110000}", "a character code that is none"),
    ],
)
def test_what_it_can_not_do_it_says(pattern: str, reason: str) -> None:
    with pytest.raises(GrammarRefusedError) as caught:
        parse_regex(pattern)
    assert reason in caught.value.reason


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        node = parse_regex(pattern)
    except GrammarRefusedError:
        return
    least, most = measure(node)
    assert 0 <= least <= (least if most is None else most)


@pytest.mark.parametrize(
    ("pattern", "most", "size"),
    [("a*", 4, (0, 4)), ("a+@b+", 5, (3, 5)), ("(foo|a)x?", 2, (1, 2)), ("(ab)*", 5, (0, 4)), ("a{2,9}", 3, (2, 3))],
)
def test_a_pattern_is_made_shorter(pattern: str, most: int, size: tuple[int, int]) -> None:
    shorter = shorten(parse_regex(pattern), most)
    assert shorter is not None
    assert measure(shorter) == size


def test_what_is_too_long_in_any_case_can_not_be_made_shorter() -> None:
    assert shorten(parse_regex("abc"), 2) is None


def test_plain_text_has_no_grammar() -> None:
    assert write_format(TextFormat()) is None


@pytest.mark.engine
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_choices_are_those_texts() -> None:
    choices = ('say "x"', "two\nlines", "é\\", "tab\there")
    grammar = write_format(ChoiceFormat(choices)) or ""
    for choice in choices:
        assert accepts(grammar, choice)
    assert not accepts(grammar, "é")
    assert accepts(write_format(JsonObjectFormat()) or "", '{"a": [1]}')


@pytest.mark.parametrize("grammar", ["start: /a/", "x" * 70_000 + "::=", 'root ::= "\x00"'])
def test_a_grammar_in_another_notation_is_refused(grammar: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        write_format(GrammarFormat(grammar))
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.param == "response_format.grammar"

"""Reading what a model writes: calls that the grammar forces, and calls in the model's own form."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.events import ToolCallDelta
from headrace.worker.engines.vllm.reading.base import CallIds, Piece, Reader
from headrace.worker.engines.vllm.reading.choice import choose_tool_parser
from headrace.worker.engines.vllm.reading.forced import ForcedCallReader, ReasoningThenCalls
from headrace.worker.engines.vllm.reading.parsed import CallPiece, Parsed, ParsedReader, Parser, ReadingRules

IDS = CallIds("request", 0)
ARGUMENTS = ['{"city": "Pa\\"r}is{", "n": [1, {"x": "\\\\"}]}', "{}", '{"parameters": {"name": "x"}}']
LIST = (
    f'[ {{ "name": "get_weather", "parameters": {ARGUMENTS[0]} }},\n'
    f'{{"name":"q\\"x", "parameters":{ARGUMENTS[1]}}},{{"name": "again","parameters": {ARGUMENTS[2]}\n  }} ]'
)


def cut(text: str, places: Sequence[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]


def read_all(reader: Reader, pieces: Sequence[str]) -> tuple[str, str, list[ToolCallDelta]]:
    said = [reader.read(piece, [0], is_last=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
    return (
        "".join(piece.reasoning for piece in said),
        "".join(piece.text for piece in said),
        [call for piece in said for call in piece.calls],
    )


def join(calls: Sequence[ToolCallDelta]) -> list[tuple[str | None, str]]:
    joined: dict[int, tuple[str | None, str]] = {}
    for call in calls:
        name, arguments = joined.get(call.index, (None, ""))
        joined[call.index] = (name or call.name, arguments + call.arguments)
    return [joined[index] for index in sorted(joined)]


@given(places=st.lists(st.integers(0, 500), max_size=12))
def test_forced_calls_are_the_same_however_the_text_is_cut(places: list[int]) -> None:
    reader = ForcedCallReader(IDS, only_tool=None)
    _, text, calls = read_all(reader, cut(LIST, places))
    assert text == ""
    assert join(calls) == list(zip(["get_weather", 'q"x', "again"], ARGUMENTS, strict=True))
    assert [call.id for call in calls if call.id] == [IDS.make(0), IDS.make(1), IDS.make(2)]
    assert reader.has_calls is True


@given(places=st.lists(st.integers(0, 60), max_size=6))
def test_the_arguments_of_the_only_tool_are_the_text(places: list[int]) -> None:
    reader = ForcedCallReader(IDS, only_tool="f")
    _, _, calls = read_all(reader, cut(ARGUMENTS[0], places))
    assert join(calls) == [("f", ARGUMENTS[0])]
    assert [call.id for call in calls if call.name] == [IDS.make(0)]


def test_a_list_that_is_cut_off_gives_what_there_is() -> None:
    _, _, calls = read_all(ForcedCallReader(IDS, only_tool=None), ['[{"name": "f", "parameters": {"a": "b'])
    assert join(calls) == [("f", '{"a": "b')]


def test_ids_are_the_same_for_a_second_attempt_and_no_other() -> None:
    assert IDS.make(0) == CallIds("request", 0).make(0)
    ids = {CallIds(request, sequence).make(call) for request in "ab" for sequence in (0, 1) for call in (0, 1)}
    assert len(ids) == 8
    assert all(len(name) == len("call_") + 24 for name in ids)


class FakeParser:
    """Says what a script of steps says, and something about the whole."""

    def __init__(self, steps: Sequence[Parsed | Exception], whole: Parsed | Exception = Parsed()) -> None:  # noqa: B008
        self._steps = iter(steps)
        self._whole = whole

    def step(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Parsed:
        del text, token_ids, is_last
        return _say(next(self._steps))

    def parse(self, text: str, token_ids: Sequence[int]) -> Parsed:
        del text, token_ids
        return _say(self._whole)


def _say(result: Parsed | Exception) -> Parsed:
    if isinstance(result, Exception):
        raise result
    return result


def parsed_reader(
    steps: Sequence[Parsed | Exception],
    whole: Parsed | Exception = Parsed(),  # noqa: B008 - it is frozen
    rules: ReadingRules = ReadingRules(names=("f", "g")),  # noqa: B008
) -> ParsedReader:
    make: Callable[[], Parser] = lambda: FakeParser(steps, whole)  # noqa: E731
    return ParsedReader(make, rules, IDS)


def test_reasoning_text_and_calls_come_apart() -> None:
    steps = [
        Parsed(reasoning="Hm"),
        Parsed(reasoning="m", text="So"),
        Parsed(calls=(CallPiece(0, "f"),)),
        Parsed(calls=(CallPiece(0, None, '{"a"'), CallPiece(0, None, ": 1}"), CallPiece(1, "g", "{}"))),
    ]
    reader = parsed_reader(steps, rules=ReadingRules(names=("f", "g"), thinks_first=True))
    first = reader.read("Hm", [1, 2], is_last=False)
    assert first == Piece(reasoning="Hm", is_thinking=True)
    reasoning, text, calls = read_all(reader, ["mSo", "<f>", "..."])
    assert (reasoning, text) == ("m", "So")
    assert join(calls) == [("f", '{"a": 1}'), ("g", "{}")]
    assert reader.has_calls is True
    assert reader.reasoning_tokens == 2


def test_a_parser_that_fails_hands_its_text_on() -> None:
    reader = parsed_reader([Parsed(text="a"), Parsed(), ValueError("secret"), Parsed(text="never")])
    assert read_all(reader, ["a", "<tool", "_call>", " and on"]) == ("", "a<tool_call> and on", [])
    assert reader.has_calls is False


def test_what_the_stream_lacks_the_whole_completes() -> None:
    whole = Parsed(calls=(CallPiece(0, "f", '{"a": 1}'), CallPiece(1, "g", "{}")))
    reader = parsed_reader([Parsed(calls=(CallPiece(0, "f", '{"a"'),)), Parsed()], whole)
    assert join(read_all(reader, ["x", "y"])[2]) == [("f", '{"a": 1}'), ("g", "{}")]


def test_text_that_was_held_back_comes_at_the_end() -> None:
    reader = parsed_reader([Parsed(text="a "), Parsed()], Parsed(text="a <tool"))
    assert read_all(reader, ["a ", "<tool"])[1] == "a <tool"


def test_a_whole_that_says_something_else_changes_nothing() -> None:
    reader = parsed_reader([Parsed(calls=(CallPiece(0, "f", '{"a":1}'),))], Parsed(text="all of it"))
    assert read_all(reader, ["x"]) == ("", "", [ToolCallDelta(0, '{"a":1}', IDS.make(0), "f")])
    broken = parsed_reader([Parsed(text="x")], ValueError())
    assert read_all(broken, ["x"])[1] == "x"


def test_a_tool_that_is_not_there_is_text() -> None:
    reader = parsed_reader([Parsed(calls=(CallPiece(0, "rm", '{"a":1}'), CallPiece(1, "f", "{}")))])
    _, text, calls = read_all(reader, ["x"])
    assert msgspec.json.decode(text) == {"name": "rm", "arguments": {"a": 1}}
    assert calls == [ToolCallDelta(0, "{}", IDS.make(0), "f")]


def test_only_the_first_of_several_calls_counts_where_one_is_allowed() -> None:
    rules = ReadingRules(names=("f", "g"), only_one=True)
    reader = parsed_reader([Parsed(calls=(CallPiece(0, "f", "{}"), CallPiece(1, "g", "{}")))], rules=rules)
    assert join(read_all(reader, ["x"])[2]) == [("f", "{}")]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    reader = parsed_reader([Parsed(calls=(CallPiece(0, "f"),))])
    assert join(read_all(reader, ["x"])[2]) == [("f", "{}")]


def test_calls_may_come_after_thoughts() -> None:
    thoughts = parsed_reader(
        [Parsed(reasoning="Hm"), Parsed(text="\n"), Parsed(text='{"a": 1}')], rules=ReadingRules(thinks_first=True)
    )
    reader = ReasoningThenCalls(thoughts, ForcedCallReader(IDS, only_tool="f"))
    reasoning, text, calls = read_all(reader, ["Hm", "</think>\n", '{"a": 1}'])
    assert (reasoning, text, join(calls)) == ("Hm", "", [("f", '{"a": 1}')])
    assert reader.has_calls is True
    assert reader.reasoning_tokens == 1


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        (None, "hermes"),
        ("{{ messages }}", "hermes"),
        ("{% if tools %}<tools>...<tool_call>", "hermes"),
        ("{% if tools %}[TOOL_CALLS]", "mistral"),
        ("{% if tools %}<|python_tag|>", "llama3_json"),
        ("{% if tools %}<tool_call>\n<function=", "qwen3_coder"),
        ("{% if tools %}<tool_call>{{ name }}<arg_key>", "glm45"),
        ("{% if tools %}<|tool_calls_section_begin|>", "kimi_k2"),
    ],
)
def test_the_parser_is_chosen_by_what_the_template_tells_the_model_to_write(template: str | None, parser: str) -> None:
    assert choose_tool_parser("auto", template) == parser
    assert choose_tool_parser("pythonic", template) == "pythonic"

"""vLLM's parsers behind ours: calls come out right wherever the text is cut, and so do thoughts."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.schema.tools import Tool
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.vllm.reading.base import CallIds
from headrace.worker.engines.vllm.reading.parsed import ParsedReader, ReadingRules
from tests.support.thinking import BEGIN, END, token_of, write_thinking_model

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

TOOLS = (
    Tool(name="get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}),
    Tool(name="get_time", parameters={"type": "object", "properties": {}}),
)  # fmt: skip
PARIS = {"city": 'Pa"ris {', "n": 3}
CALLS = [("get_weather", PARIS), ("get_time", {})]


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


TEXTS = {
    "hermes": (
        "Let me see.\n",
        f'<tool_call>\n{{"name": "get_weather", "arguments": {to_json(PARIS)}}}\n</tool_call>\n'
        '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>',
    ),
    "llama3_json": (
        "",
        f'{{"name": "get_weather", "parameters": {to_json(PARIS)}}}; {{"name": "get_time", "parameters": {{}}}}',
    ),
    "granite4": (
        "Well. ",
        f'<tool_call>{{"name": "get_weather", "arguments": {to_json(PARIS)}}}</tool_call>'
        '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>',
    ),
    "pythonic": ("", "[get_weather(city='Pa\"ris {', n=3), get_time()]"),
    "qwen3_coder": (
        "Well.\n",
        '<tool_call>\n<function=get_weather>\n<parameter=city>\nPa"ris {\n</parameter>\n<parameter=n>\n3\n</parameter>\n'
        "</function>\n</tool_call>\n<tool_call>\n<function=get_time>\n</function>\n</tool_call>",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_thinking_model(tmp_path_factory.mktemp("weights") / "thinking")


@pytest.fixture(scope="module")
def model_config(folder: Path) -> Any:
    pytest.importorskip("vllm")
    from vllm.config import ModelConfig

    return ModelConfig(model=str(folder), tokenizer=str(folder))


def open_reader(model_config: Any, *, parser: str, reasoning: str = "", prompt: Sequence[int] = ()) -> ParsedReader:
    from headrace.worker.engines.vllm.reading.vendor import ParserNames, VendorParsers

    parsers = VendorParsers(model_config, ParserNames("m", parser, reasoning))
    thinks = parsers.is_thinking_next(list(prompt))
    kit = parsers.open(TOOLS, thinks_first=thinks, prompt_token_ids=list(prompt), template_arguments={})
    rules = ReadingRules(names={tool.name for tool in TOOLS}, thinks_first=thinks)
    return ParsedReader(kit.make, rules, CallIds("r", 0))


def read_in_pieces(
    model_config: Any, reader: ParsedReader, text: str, places: Sequence[int]
) -> tuple[str, str, list[Any]]:
    tokenizer = _tokenizer_of(model_config)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    pieces = [text[begin:end] for begin, end in pairwise(edges)]
    said = [
        reader.read(piece, tokenizer.encode(piece, add_special_tokens=False), is_last=i == len(pieces) - 1)
        for i, piece in enumerate(pieces)
    ]
    calls: dict[int, list[str]] = {}
    for call in (call for piece in said for call in piece.calls):
        entry = calls.setdefault(call.index, ["", ""])
        entry[0] += call.name or ""
        entry[1] += call.arguments
    return (
        "".join(piece.reasoning for piece in said),
        "".join(piece.text for piece in said),
        [(name, msgspec.json.decode(arguments)) for name, arguments in calls.values()],
    )


def _tokenizer_of(model_config: Any) -> Any:
    from vllm.tokenizers import cached_tokenizer_from_config

    return cached_tokenizer_from_config(model_config=model_config)


@pytest.mark.parametrize("parser", TEXTS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, 400), max_size=40))
def test_calls_are_the_same_wherever_the_text_is_cut(model_config: Any, parser: str, places: list[int]) -> None:
    text, calls = TEXTS[parser]
    reader = open_reader(model_config, parser=parser)
    _, said, found = read_in_pieces(model_config, reader, text + calls, places)
    assert found == CALLS
    assert said.strip() == text.strip()


@pytest.mark.parametrize("parser", TEXTS)
def test_calls_are_found_letter_by_letter_and_at_once(model_config: Any, parser: str) -> None:
    text, calls = TEXTS[parser]
    for places in ([], range(400)):
        reader = open_reader(model_config, parser=parser)
        assert read_in_pieces(model_config, reader, text + calls, list(places))[2] == CALLS


@pytest.mark.parametrize(
    "text", ["Plain text.", "a < b and <tool", "<tool_call>\nno json", '<tool_call>\n{"name": "get_w']
)
def test_what_is_no_call_is_text_and_nothing_is_lost(model_config: Any, text: str) -> None:
    for places in ([], range(400)):
        reader = open_reader(model_config, parser="hermes")
        assert read_in_pieces(model_config, reader, text, list(places)) == ("", text, [])


@pytest.mark.parametrize("reasoning", ["deepseek_r1", "qwen3"])
def test_thoughts_then_text_then_calls(model_config: Any, folder: Path, reasoning: str) -> None:
    opened = [token_of(folder, BEGIN)]
    text, calls = TEXTS["hermes"]
    for places in ([], [3, 9, 12], range(400)):
        reader = open_reader(model_config, parser="hermes", reasoning=reasoning, prompt=opened)
        whole = f"Hm, {{so}}.{END}{text}{calls}"
        thought, said, found = read_in_pieces(model_config, reader, whole, list(places))
        assert thought.strip() == "Hm, {so}."
        assert said.strip() == text.strip()
        assert found == CALLS


def test_no_thoughts_after_a_prompt_that_has_ended_them(model_config: Any, folder: Path) -> None:
    ended = [token_of(folder, BEGIN), token_of(folder, END)]
    reader = open_reader(model_config, parser="hermes", reasoning="deepseek_r1", prompt=ended)
    assert read_in_pieces(model_config, reader, "Just this", [4]) == ("", "Just this", [])


def test_an_unknown_parser_is_refused_with_those_there_are(model_config: Any) -> None:
    with pytest.raises(
        EngineSetupError, match=r"models\.m\.tool_parser 'x' is no parser of vLLM's; there are .*hermes"
    ):
        open_reader(model_config, parser="x")

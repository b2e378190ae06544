"""vLLM's parsers behind ours: calls come out right wherever the text is cut, and so do thoughts."""

import importlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.models import write_tiny_model
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.schema.tools import Tool
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.build import build_engine
from headrace.worker.engines.vllm.reading.base import CallIds
from headrace.worker.engines.vllm.reading.parsed import ParsedReader, ReadingRules
from tests.support.thinking import BEGIN, END, token_of, write_thinking_model

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}
TOOLS = (
    Tool(name="get_weather", parameters=CITY),
    Tool(name="get_time", parameters={"type": "object", "properties": {}}),
)
PARIS = {"city": 'Pa"ris {', "n": 3}
CALLS: list[tuple[str, Any]] = [("get_weather", PARIS), ("get_time", {})]

NOWHERE_AND_EVERYWHERE: list[list[int]] = [[], list(range(400))]


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


TEXTS = {
    "hermes": (
        "Let me see.\n",
        f'<tool_call>\n{{"name": "get_weather", "arguments": {to_json(PARIS)}}}\n</tool_call>\n'
        '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>',
    ),
    "granite4": (
        "Well. ",
        f'<tool_call>{{"name": "get_weather", "arguments": {to_json(PARIS)}}}</tool_call>'
        '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>',
    ),
    "pythonic": ("", "[get_weather(city='Pa\"ris {', n=3), get_time()]"),
    "qwen3_coder": (
        "Well.\n",
        '<tool_call>\n<function=get_weather>\n<parameter=city>\nPa"ris {\n</parameter>\n'
        "<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=get_time>\n</function>\n</tool_call>",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_thinking_model(tmp_path_factory.mktemp("weights") / "thinking")


@pytest.fixture(scope="module")
def model_config(folder: Path) -> Any:
    return _read_config(folder)


def _read_config(folder: Path) -> Any:
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
    """Read a text that is cut after some of its tokens, which mostly are single letters."""
    tokenizer = _tokenizer_of(model_config)
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    edges = [0, *sorted({1 + place % len(tokens) for place in places} - {len(tokens)}), len(tokens)]
    pieces = [tokens[begin:end] for begin, end in pairwise(edges)]
    said = [reader.read(tokenizer.decode(piece), piece, is_last=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
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
    tokenizers: Any = importlib.import_module("vllm.tokenizers")
    return tokenizers.cached_tokenizer_from_config(model_config=model_config)


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
    for places in NOWHERE_AND_EVERYWHERE:
        reader = open_reader(model_config, parser=parser)
        assert read_in_pieces(model_config, reader, text + calls, list(places))[2] == CALLS


@pytest.mark.parametrize(
    "text", ["Plain text.", "a < b and <tool", "<tool_call>\nno json", '<tool_call>\n{"name": "get_w']
)
def test_what_is_no_call_is_text_and_nothing_is_lost(model_config: Any, text: str) -> None:
    for places in NOWHERE_AND_EVERYWHERE:
        reader = open_reader(model_config, parser="hermes")
        assert read_in_pieces(model_config, reader, text, list(places)) == ("", text, [])


@pytest.mark.parametrize("reasoning", ["deepseek_r1", "qwen3"])
def test_thoughts_then_text_then_calls(model_config: Any, folder: Path, reasoning: str) -> None:
    opened = [token_of(folder, BEGIN)]
    text, calls = TEXTS["hermes"]
    for places in (*NOWHERE_AND_EVERYWHERE, [3, 9, 12]):
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


def refusal_of(folder: Path, **more: Any) -> str:
    model = ModelSettings(weights="tiny:random", max_model_tokens=512, **more)
    engine = EngineSettings(kind="vllm", cpu_threads=1)
    with pytest.raises(EngineSetupError) as caught:
        build_engine(model, name="m", engine=engine, weights=folder, script_text=None)
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"reasoning_parser": "x"}, "models.m.reasoning_parser 'x' is no parser of vLLM's; there are "),
        ({"tool_parser": "x"}, "models.m.tool_parser 'x' is no parser of vLLM's; there are "),
        ({"tool_parser": "llama3_json"}, "models.m.tool_parser 'llama3_json' does not go with this model"),
        ({"engine_options": {"reasoning_parser": "x"}}, "use models.m.reasoning_parser"),
        ({"engine_options": {"structured_outputs_config": {}}}, "structured_outputs_config can't be changed"),
    ],
)
def test_a_wrong_parser_is_refused_before_the_model_loads(folder: Path, more: dict[str, Any], reason: str) -> None:
    assert reason in refusal_of(folder, **more)


def test_a_model_without_the_marks_does_not_think(tmp_path: Path) -> None:
    reason = refusal_of(write_tiny_model(tmp_path / "tiny"), reasoning_parser="deepseek_r1")
    assert "models.m.reasoning_parser 'deepseek_r1' does not go with this model" in reason


def test_a_parser_that_was_only_guessed_gives_way(tmp_path: Path) -> None:
    template = "{% if tools %}<|python_tag|>{% endif %}"
    model_config = _read_config(write_thinking_model(tmp_path / "guessed", template=template))
    reader = open_reader(model_config, parser="auto")
    text, calls = TEXTS["hermes"]
    assert read_in_pieces(model_config, reader, text + calls, [5])[2] == CALLS

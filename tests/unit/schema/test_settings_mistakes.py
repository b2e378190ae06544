"""Whatever is wrong with a setting, it is said in our own words: where, what was given, what is allowed."""

from typing import Any

import pytest
from hypothesis import given as generated
from hypothesis import strategies as st

from headrace.schema.settings import ConfigSource, SettingsError, load_settings
from headrace.schema.settings.allowed import describe, explain
from headrace.schema.settings.load import named_sections, plain_sections, variable_name

# How the decoder speaks, which people never see.
RAW = ("Expected `", "got `", "- at `$", "enum value", "Object ", "Invalid ", "JSON is malformed")
VALUES: list[Any] = [
    *("", "x", "opnai", "tru", -1, 0, 10**12, 1.5, -1e300, True, [], {}, [1], ["x"], [{}], [{"modell": 1}]),
    *({"a": 1}, {"a": {"b": []}}, [{"model": 5}], "x" * 500),
]
TABLES = {
    **plain_sections(),
    **{f"{section}.it": struct for section, struct in named_sections().items()},
}
PATHS = [f"{table}.{key}" for table, struct in TABLES.items() for key in struct.__struct_fields__]


def read_nothing(name: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", name)


def problems_of(text: str = "", environ: dict[str, str] | None = None, **overrides: Any) -> list[str]:
    try:
        load_settings(
            source=ConfigSource("headrace.toml", text),
            environ=environ or {},
            overrides=overrides,
            read_file=read_nothing,
            options={"gateway.port": "--port", "engine.kind": "--engine"},
        )
    except SettingsError as error:
        return error.problems
    return []


@generated(path=st.sampled_from(PATHS), value=st.sampled_from(VALUES))
def test_no_mistake_is_told_in_the_words_of_the_decoder(path: str, value: Any) -> None:
    named = [f"[{table}]\n{NEEDED[table]}" for table in TABLES if "." in table]
    for problem in problems_of("\n".join(named), **{path: value}):
        assert not [raw for raw in RAW if raw in problem], problem


@generated(
    path=st.sampled_from(PATHS), text=st.sampled_from(["", "x", "-1", "1e999", "{", "[1", '{"a": 1}', "[[]]", "yes"])
)
def test_nor_is_one_of_the_environment(path: str, text: str) -> None:
    named = [f"[{table}]\n{NEEDED[table]}" for table in TABLES if "." in table]
    for problem in problems_of("\n".join(named), {variable_name(path): text}):
        assert not [raw for raw in RAW if raw in problem], problem


NEEDED = {
    "models.it": "weights = 'tiny:random'",
    "providers.it": "kind = 'openai'",
    "routes.it": "targets = [{ model = 'it/x' }]",
    "prices.it": "",
}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[gateway]\nport = 99999\n",
            "line 2: gateway.port: 99999 is given, and allowed is a whole number from 0 to 65535",
        ),
        (
            "[providers.a]\nkind = 'opnai'\n",
            "line 2: providers.a.kind: 'opnai' is given, and allowed is openai, anthropic, gemini or scripted; "
            "did you mean openai?",
        ),
        (
            "[worker]\ndrain_seconds = 0\n",
            "line 2: worker.drain_seconds: 0 is given, and allowed is a number above 0 and up to 86400",
        ),
        ("[accounts]\nenabled = 'yes'\n", "line 2: accounts.enabled: 'yes' is given, and allowed is true or false"),
        (
            "[worker]\nmodels = ['a', 2]\n",
            "line 2: worker.models[1]: 2 is given, and allowed is text",
        ),
        ("[worker]\nmodels = 'a'\n", "line 2: worker.models: 'a' is given, and allowed is a list, each text"),
        (
            "[models.a]\nweights = 'tiny:random'\nadapters = { b = 1 }\n",
            "line 3: models.a.adapters.b: 1 is given, and allowed is text",
        ),
        (
            "[routes.a]\ntargets = [{ provider = 'x' }]\n",
            "line 2: routes.a.targets[0].model: it is missing",
        ),
    ],
)
def test_what_is_said_of_a_file(text: str, problem: str) -> None:
    assert problems_of(text) == [f"headrace.toml, {problem}"]


def test_what_is_said_of_a_command_line() -> None:
    given: dict[str, Any] = {"gateway.port": 99999, "engine.kind": "scrpted"}
    assert problems_of(**given) == [
        "--port: gateway.port: 99999 is given, and allowed is a whole number from 0 to 65535",
        "--engine: engine.kind: 'scrpted' is given, and allowed is vllm or scripted; did you mean scripted?",
    ]


def test_what_is_no_json_is_not_quoted() -> None:
    text = "[models.a]\nweights = 'tiny:random'\n"
    (problem,) = problems_of(text, {"HEADRACE_MODELS_A_ADAPTERS": "{secret"})
    assert problem.startswith("HEADRACE_MODELS_A_ADAPTERS: models.a.adapters: what is given is not valid JSON")
    assert "secret" not in problem


def test_text_that_is_too_long_is_cut() -> None:
    wrong = explain("a", "x" * 500, int)
    assert wrong is not None
    assert len(wrong) < 120


def test_every_setting_can_be_described() -> None:
    for struct in TABLES.values():
        for kind in struct.__annotations__.values():
            assert describe(kind)

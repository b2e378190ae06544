"""Requests that are meant to hurt the engine behind the gateway: it refuses them or answers them, and lives on.

They reach real vLLM: schemas, expressions and grammars that are endless, huge or malformed, and numbers at the edge of
what a sampler takes. After each the next call is answered as ever, by the same processes.
"""

from typing import Any

import httpx
import psutil
import pytest

from tests.clients.target import Target

MOST_SECONDS = 60.0
Fields = dict[str, Any]

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(180)]


def _nested(depth: int) -> Fields:
    schema: Fields = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": False}
    return schema


SCHEMAS: dict[str, Fields] = {
    "recursive": {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
    },
    "ref to itself": {"$ref": "#"},
    "refs in a ring": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "ref to nowhere": {"$ref": "#/$defs/nobody"},
    "ref to another host": {"$ref": "http://127.0.0.1:9/schema.json"},
    "a million items": {"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000},
    "a long text": {"type": "string", "minLength": 1_000_000, "maxLength": 2_000_000},
    "a huge range": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "an empty range": {"type": "integer", "minimum": 5, "maximum": 4},
    "a big enum": {"enum": [f"value {number}" for number in range(5000)]},
    "an empty enum": {"enum": []},
    "a thousand properties": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(1000)}},
    "sixty deep": _nested(60),
    "two hundred deep": _nested(200),
    "a slow pattern": {"type": "string", "pattern": "^(a+)+$"},
    "a big pattern": {"type": "string", "pattern": "^(([a-z]{1,500}){1,500}){1,500}$"},
    "a bad pattern": {"type": "string", "pattern": "("},
    "a lookbehind": {"type": "string", "pattern": "(?<=a)b"},
    "never": {"not": {}},
    "false inside": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "all of many": {"allOf": [{"type": "object", "properties": {f"p{n}": {}}} for n in range(200)]},
    "any of many": {"anyOf": [{"type": "string", "maxLength": n} for n in range(1, 300)]},
    "odd keys": {"type": "object", "properties": {"": {"type": "null"}, "\u0000": {}, '"': {}}, "required": [""]},
    "unknown words": {"type": "string", "format": "nobody", "unevaluatedItems": True, "$dynamicRef": "#x"},
    "a wrong type": {"type": "strange"},
    "a multiple of nothing": {"type": "number", "multipleOf": 0},
}
REGEXES = [
    "(",
    "[",
    "(a{1000}){1000}",
    "(?<=a)b",
    r"(a)\1",
    r"\p{L}+",
    ".{1,100000}",
    "(a|a)*b",
    "\u0000",
    "^$",
    "a{5,2}",
]
GRAMMARS = [
    "root ::=",
    "root ::= root",
    'root ::= root "a" | "a"',
    'root ::= a\na ::= b\nb ::= a | ""',
    'root ::= "' + "a" * 100_000 + '"',
    "root ::= " + "(" * 2000 + '"a"' + ")" * 2000,
    "root ::= [a-z]{1000000}",
    "no grammar at all",
    'root ::= "\u0000"',
]
EXTREMES: dict[str, Fields] = {
    "bias outside of the vocabulary": {"logit_bias": {str(2**31 - 1): 100}},
    "bias of everything": {"logit_bias": {str(token): -100 for token in range(2000)}},
    "the greatest seed": {"seed": 2**63 - 1},
    "the least seed": {"seed": -(2**63)},
    "many sequences": {"n": 64, "max_tokens": 2},
    "all logprobs": {"logprobs": True, "top_logprobs": 20, "prompt_logprobs": 20},
    "min_tokens above max_tokens": {"min_tokens": 100, "max_tokens": 5},
    "stops": {"stop": ["\u0000", "\ufffd", "é", " "]},
    "tiny top_p": {"top_p": 1e-300, "temperature": 2},
    "tiny temperature": {"temperature": 1e-300},
    "tiny repetition_penalty": {"repetition_penalty": 1e-300},
    "top_k above the vocabulary": {"top_k": 2**31 - 1},
    "a priority out of range": {"priority": 2**40},
    "nothing but marks": {"messages": [{"role": "user", "content": "<|im_end|>" * 50}]},
    "odd characters": {"messages": [{"role": "user", "content": "\u0000\ufffd\U000e0001\u202e🏴"}]},
    "template arguments": {"chat_template_kwargs": {"messages": [], "bos_token": {}, "add_generation_prompt": [1]}},
    "a form and a tool": {
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "required",
    },
}


class _Engine:
    """The server, and its processes as they were before the attack."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._family = {process.pid for process in self._engine_processes()}

    def _engine_processes(self) -> list[psutil.Process]:
        return psutil.Process(self._target.server.pid).children(recursive=True)

    def attack(self, path: str = "/v1/chat/completions", **fields: Any) -> None:
        """Send a request, and check that it is answered in time, and the next one too."""
        body = {"model": self._target.model, "max_tokens": 8, **fields}
        if path == "/v1/chat/completions":
            body.setdefault("messages", [{"role": "user", "content": "Hello"}])
        answer = httpx.post(f"{self._target.server.address}{path}", json=body, timeout=MOST_SECONDS)
        assert answer.status_code in {200, 400}, (answer.status_code, answer.text[:500])
        if answer.status_code == 400:
            assert answer.json()["error"]["param"], answer.text[:500]
        self._check_alive()

    def _check_alive(self) -> None:
        with self._target.open_openai() as client:
            answer = client.with_options(timeout=MOST_SECONDS).chat.completions.create(
                model=self._target.model,
                messages=[{"role": "user", "content": "What is the capital of France?"}],
                temperature=0,
            )
        assert answer.choices[0].message.content == "The capital of France is Paris."
        assert self._family <= {process.pid for process in self._engine_processes()}


@pytest.fixture
def engine(vllm: Target) -> _Engine:
    return _Engine(vllm)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_schema(engine: _Engine, schema: Fields) -> None:
    engine.attack(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_the_schema_of_a_tool(engine: _Engine, schema: Fields) -> None:
    parameters = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    engine.attack(
        tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}], tool_choice="required"
    )


@pytest.mark.parametrize("regex", REGEXES)
def test_a_regular_expression(engine: _Engine, regex: str) -> None:
    engine.attack(structured_outputs={"regex": regex})


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: ascii(grammar)[:30])
def test_a_grammar(engine: _Engine, grammar: str) -> None:
    engine.attack(structured_outputs={"grammar": grammar})


@pytest.mark.parametrize("fields", EXTREMES.values(), ids=EXTREMES.keys())
def test_an_extreme(engine: _Engine, fields: Fields) -> None:
    engine.attack(**fields)


@pytest.mark.parametrize("prompt", [[2**31 - 1], [10**9, 5], [[]], [], "", [""], "\u0000", [[1] * 3000]], ids=str)
def test_a_raw_prompt(engine: _Engine, prompt: Any) -> None:
    engine.attack("/v1/completions", prompt=prompt)

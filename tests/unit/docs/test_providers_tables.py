"""The tables of docs/providers.md say what the providers do."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from headrace.providers.anthropic import stream as anthropic
from headrace.providers.anthropic.vendor import AnthropicVendor
from headrace.providers.base import ProviderCall, ProviderError
from headrace.providers.failing import Complaints
from headrace.providers.gemini import stream as gemini
from headrace.providers.gemini.vendor import GeminiVendor
from headrace.providers.openai import stream as openai
from headrace.providers.openai.vendor import OpenAIVendor
from headrace.schema.formats import ChoiceFormat, GrammarFormat, JsonObjectFormat, JsonSchemaFormat, RegexFormat
from headrace.schema.messages import Message
from headrace.schema.request import (
    BeamSearchParams,
    ChatCompletionRequest,
    EmbeddingParams,
    GenerationParameters,
    OutputFlags,
)
from headrace.schema.settings import ProviderSettings
from headrace.schema.tools import Tool, ToolChoice

_PLAIN = ChatCompletionRequest(model="m", messages=(Message("user", "Hello"),))
_TOOLS = structs.replace(_PLAIN, tools=(Tool(name="a"), Tool(name="b")))
_PROMPTS = ChatCompletionRequest(model="m", prompts=("Hello",))
_EXTENSIONS: dict[str, Any] = {kind: {"x": 1} for kind in ("openai", "anthropic", "gemini")}

_PARAMETERS: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "min_p": 0.5,
    "max_tokens": 5,
    "min_tokens": 5,
    "ignore_eos": True,
    "n": 2,
    "best_of": 2,
    "stop": ("x",),
    "seed": 5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.5,
    "logit_bias": {1: 1.0},
    "beam_search": BeamSearchParams(width=2),
    "provider_extensions": _EXTENSIONS,
}
_OUTPUT: dict[str, dict[str, Any]] = {
    name: {name: True}
    for name in ("token_ids", "usage", "timings", "reasoning", "logprobs", "prompt", "queue_position", "signatures")
} | {"top_logprobs": {"logprobs": True, "top_logprobs": 2}, "prompt_logprobs": {"prompt": True, "prompt_logprobs": 1}}
_FURTHER: dict[str, tuple[ChatCompletionRequest, ChatCompletionRequest]] = {
    "tools": (_PLAIN, _TOOLS),
    "tool_choice.mode": (_TOOLS, structs.replace(_TOOLS, tool_choice=ToolChoice(mode="required"))),
    "tool_choice.names": (_TOOLS, structs.replace(_TOOLS, tool_choice=ToolChoice(names=("a",)))),
    "tool_choice.parallel": (_TOOLS, structs.replace(_TOOLS, tool_choice=ToolChoice(parallel=False))),
    "prompts": (_PLAIN, _PROMPTS),
    "embedding": (_PLAIN, structs.replace(_PROMPTS, embedding=EmbeddingParams())),
    "count_only": (_PLAIN, structs.replace(_PLAIN, count_only=True)),
} | {
    f"response_format: {form.__struct_config__.tag}": (_PLAIN, structs.replace(_PLAIN, response_format=form))
    for form in (
        JsonObjectFormat(),
        JsonSchemaFormat(schema={"type": "object"}),
        RegexFormat("a"),
        ChoiceFormat(("a",)),
        GrammarFormat("a"),
    )
}


def _requests() -> dict[str, tuple[ChatCompletionRequest, ChatCompletionRequest]]:
    """Return for each row of the table a request without it and one with it."""
    parameters = {
        f"generation_parameters.{name}": (
            _PLAIN,
            structs.replace(_PLAIN, generation_parameters=GenerationParameters(**{name: value})),
        )
        for name, value in _PARAMETERS.items()
    }
    outputs = {
        f"output.{name}": (_PLAIN, structs.replace(_PLAIN, output=OutputFlags(**flags)))
        for name, flags in _OUTPUT.items()
    }
    return parameters | outputs | _FURTHER


VENDORS = {
    "openai": OpenAIVendor("up", ProviderSettings(kind="openai"), Complaints("up", None)),
    "openai with vllm_fields": OpenAIVendor(
        "up", ProviderSettings(kind="openai", vllm_fields=True), Complaints("up", None)
    ),
    "anthropic": AnthropicVendor("up", ProviderSettings(kind="anthropic"), Complaints("up", None)),
    "gemini": GeminiVendor("up", ProviderSettings(kind="gemini"), Complaints("up", None)),
}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "providers.md").read_text(encoding="utf-8")


def _sent(vendor: Any, request: ChatCompletionRequest) -> bytes:
    http = vendor.prepare(ProviderCall(request_id="gen_1", request=request, timeout_seconds=1.0)).http
    return msgspec.json.encode([http.path, msgspec.json.decode(http.body)])


def _fate(vendor: Any, without: ChatCompletionRequest, with_it: ChatCompletionRequest) -> str:
    plain = _sent(vendor, without)
    try:
        return "left out" if _sent(vendor, with_it) == plain else "sent"
    except ProviderError as error:
        return "refused" if error.code == "unsupported_parameter" else str(error.code)


def test_the_mapping(page: str) -> None:
    table = page.partition("<!-- mapping begins -->\n")[2].partition("<!-- mapping ends -->")[0].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    assert head == ["field", *VENDORS]
    shown = {row[0].strip("`"): row[1:] for row in rows}
    assert shown == {
        name: [_fate(vendor, *requests) for vendor in VENDORS.values()] for name, requests in _requests().items()
    }


def test_the_mapping_has_every_field() -> None:
    assert set(_PARAMETERS) == set(GenerationParameters.__struct_fields__)
    assert set(_OUTPUT) == set(OutputFlags.__struct_fields__)


def test_the_reasons(page: str) -> None:
    rows = re.findall(r"^\| (openai|anthropic|gemini) \| (`.*`) \| `(\w+)` \|$", page, re.MULTILINE)
    shown = {(kind, reason): ours for kind, reasons, ours in rows for reason in re.findall(r"`(\w+)`", reasons)}
    vendors = {"openai": openai.REASONS, "anthropic": anthropic.REASONS, "gemini": gemini.REASONS}
    assert shown == {(kind, reason): ours for kind, reasons in vendors.items() for reason, ours in reasons.items()}

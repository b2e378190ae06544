"""What goes to the vendors: held to their SDKs' own types, field by field."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from anthropic.types import ContentBlockParam, MessageCountTokensParams, MessageParam
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from google.genai import types as genai
from msgspec import structs
from openai.types import CompletionCreateParams, EmbeddingCreateParams
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from headrace.providers.anthropic.vendor import AnthropicVendor
from headrace.providers.base import Fault, ProviderCall, ProviderError
from headrace.providers.failing import Complaints
from headrace.providers.gemini.vendor import GeminiVendor
from headrace.providers.openai.vendor import OpenAIVendor
from headrace.providers.vendor import Exchange, Vendor
from headrace.schema.errors import ErrorCode
from headrace.schema.formats import ChoiceFormat, GrammarFormat, JsonObjectFormat, JsonSchemaFormat, RegexFormat
from headrace.schema.messages import (
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from headrace.schema.request import (
    BeamSearchParams,
    ChatCompletionRequest,
    EmbeddingParams,
    GenerationParameters,
    OutputFlags,
)
from headrace.schema.settings import ProviderSettings
from headrace.schema.tools import Tool, ToolChoice

VENDORS: dict[str, Callable[[str, ProviderSettings, Complaints], Vendor]] = {
    "openai": OpenAIVendor,
    "anthropic": AnthropicVendor,
    "gemini": GeminiVendor,
}
KINDS = list(VENDORS)
PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
WEATHER = Tool(name="weather", description="Tells it", parameters=SCHEMA, strict=True)
TIME = Tool(name="time")
USER = (Message("user", "Hello"),)


def prepare(kind: Any, request: ChatCompletionRequest, **settings: Any) -> Exchange:
    vendor = VENDORS[kind]("up", ProviderSettings(kind=kind, **settings), Complaints("up", None))
    return vendor.prepare(ProviderCall(request_id="gen_1", request=request, timeout_seconds=1.0))


def body_of(kind: str, request: ChatCompletionRequest, **settings: Any) -> dict[str, Any]:
    return msgspec.json.decode(prepare(kind, request, **settings).http.body)


def ask(messages: tuple[Message, ...] = USER, **fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(model="m", messages=messages, **fields)


def sample(**fields: Any) -> ChatCompletionRequest:
    return ask(generation_parameters=GenerationParameters(**fields))


FULL = ask(
    (
        Message("system", "Be brief."),
        Message("user", (TextPart("What is this?"), ImagePart(url=PNG, detail="low"))),
        Message("user", (ImagePart(url="https://example.org/cat.png"),)),
        Message(
            "assistant",
            (
                ReasoningPart("I look.", "c2lnbmVk"),
                TextPart("A moment."),
                ToolCallPart(id="call_1", name="weather", arguments='{"a": "Zürich"}'),
                ToolCallPart(id="call_2", name="time", arguments=""),
            ),
        ),
        Message(
            "tool",
            (
                ToolResultPart(tool_call_id="call_1", content="Rain"),
                ToolResultPart(tool_call_id="call_2", content=(TextPart("late"),), is_error=True),
            ),
        ),
        Message("user", "And now?", "anna"),
    ),
    generation_parameters=GenerationParameters(
        temperature=1.5, top_p=0.9, top_k=7, min_p=0.1, max_tokens=100, stop=("END",), seed=2**40, presence_penalty=0.5,
        frequency_penalty=0.25, repetition_penalty=1.1,
    ),
    output=OutputFlags(reasoning=True, usage=True),
    tools=(WEATHER, TIME),
    tool_choice=ToolChoice(mode="auto"),
)  # fmt: skip


def taken(kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the SDK's type takes of a body; what it does not know is dropped, at any depth."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return msgspec.json.decode(adapter.dump_json(adapter.validate_python(body), warnings=False))


def check_messages(body: dict[str, Any], message_kind: Any, part_kind: Any) -> None:
    """Check messages one by one: pydantic reads an `Iterable` once only, so lists inside lists are taken apart."""
    for message in body["messages"]:
        check_parts(message, part_kind)
        assert taken(message_kind, message) == message


def check_parts(holder: dict[str, Any], part_kind: Any) -> None:
    """Check a list of parts, and leave a text in its place."""
    if isinstance(parts := holder.get("content"), list):
        for part in parts:  # pyright: ignore[reportUnknownVariableType]
            check_parts(part, part_kind)  # pyright: ignore[reportUnknownArgumentType]
            assert taken(part_kind, part) == part  # pyright: ignore[reportUnknownArgumentType]
        holder["content"] = "x"


def check_openai(body: dict[str, Any]) -> None:
    check_messages(body, ChatCompletionMessageParam, ChatCompletionContentPartParam)
    assert taken(CompletionCreateParamsStreaming, body) == body


def check_anthropic(body: dict[str, Any], kind: Any = MessageCreateParamsStreaming) -> None:
    # The newest types have left these out, and the version of the API that is spoken has them.
    for name in ("temperature", "top_p", "top_k"):
        body.pop(name, None)
    check_messages(body, MessageParam, ContentBlockParam)
    assert taken(kind, body) == body


def check_gemini(body: dict[str, Any]) -> None:
    config = body.pop("generationConfig", {})
    genai.GenerateContentConfig.model_validate(
        {
            **config,
            "tools": body.pop("tools", None),
            "toolConfig": body.pop("toolConfig", None),
            "systemInstruction": body.pop("systemInstruction", None),
        }
    )
    genai.GenerationConfig.model_validate(config)
    for content in body.pop("contents"):
        genai.Content.model_validate(content)
    assert not body


CHECKS = {"openai": check_openai, "anthropic": check_anthropic, "gemini": check_gemini}

REQUESTS: dict[str, ChatCompletionRequest] = {
    "full": FULL,
    "plain": ask(),
    "none": ask(tools=(WEATHER,), tool_choice=ToolChoice(mode="none")),
    "required": ask(tools=(WEATHER, TIME), tool_choice=ToolChoice(mode="required")),
    "named": ask(tools=(WEATHER, TIME), tool_choice=ToolChoice(mode="required", names=("time",))),
    "schema": ask(response_format=JsonSchemaFormat(schema=SCHEMA, name="my answer", description="d")),
    "effort": sample(provider_extensions={"vllm": {"chat_template_kwargs": {"reasoning_effort": "low"}}}),
    "no thinking": sample(provider_extensions={"vllm": {"chat_template_kwargs": {"reasoning_effort": "none"}}}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_sent_is_what_the_vendor_takes(kind: str, name: str) -> None:
    CHECKS[kind](body_of(kind, REQUESTS[name]))


def test_other_bodies_of_openai() -> None:
    prompts = ChatCompletionRequest(model="m", prompts=("a", "b"), output=OutputFlags(logprobs=True, top_logprobs=2))
    body = body_of("openai", prompts)
    assert taken(CompletionCreateParams, body) == body
    assert body["prompt"] == ["a", "b"]
    assert body["logprobs"] == 2
    assert body_of("openai", structs.replace(prompts, prompts=((1, 2),)))["prompt"] == [1, 2]
    embedding = ChatCompletionRequest(model="m", prompts=("a",), embedding=EmbeddingParams(dimensions=8))
    body = body_of("openai", embedding)
    assert taken(EmbeddingCreateParams, body) == body
    assert body == {"model": "m", "input": ["a"], "dimensions": 8, "encoding_format": "base64"}
    logprobs = ask(output=OutputFlags(logprobs=True, top_logprobs=3))
    body = body_of("openai", logprobs)
    check_openai(body)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


def test_a_count_of_anthropic() -> None:
    exchange = prepare("anthropic", structs.replace(FULL, count_only=True))
    assert exchange.http.path == "/v1/messages/count_tokens"
    body = msgspec.json.decode(exchange.http.body)
    check_anthropic(body, MessageCountTokensParams)


def test_the_conversation_in_openais_words() -> None:
    messages = body_of("openai", FULL)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "user", "assistant", "tool", "tool", "user"]
    assert messages[1]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    ]
    assert messages[3] == {
        "role": "assistant",
        "content": "A moment.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a": "Zürich"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}},
        ],
    }
    assert messages[5] == {"role": "tool", "tool_call_id": "call_2", "content": "late"}
    assert messages[6]["name"] == "anna"
    elsewhere = body_of("openai", FULL, base_url="https://vllm.example/v1")["messages"]
    assert elsewhere[3]["reasoning_content"] == "I look."


def test_the_conversation_in_anthropics_words() -> None:
    body = body_of("anthropic", FULL)
    assert body["system"] == "Be brief."
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    first, answer, results = (message["content"] for message in body["messages"])
    assert first[1]["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert first[2]["source"] == {"type": "url", "url": "https://example.org/cat.png"}
    assert answer[0] == {"type": "thinking", "thinking": "I look.", "signature": "c2lnbmVk"}
    assert answer[2] == {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"a": "Zürich"}}
    assert answer[3]["input"] == {}
    assert results[1] == {
        "type": "tool_result",
        "tool_use_id": "toolu_2",
        "content": [{"type": "text", "text": "late"}],
        "is_error": True,
    }
    assert results[2] == {"type": "text", "text": "And now?"}


@pytest.mark.parametrize("signature", [None, "gen_0123"])
def test_a_thought_that_anthropic_did_not_sign_is_left_out(signature: str | None) -> None:
    thought = Message("assistant", (ReasoningPart("I look.", signature), TextPart("Yes")))
    content = body_of("anthropic", ask((*USER, thought, *USER)))["messages"][1]["content"]
    assert content == [{"type": "text", "text": "Yes"}]


def test_the_conversation_in_geminis_words() -> None:
    body = body_of("gemini", FULL)
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    first, answer, results = (turn["parts"] for turn in body["contents"])
    assert first[1] == {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    assert first[2] == {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/cat.png"}}
    assert answer[1] == {
        "functionCall": {"id": "call_1", "name": "weather", "args": {"a": "Zürich"}},
        "thoughtSignature": "skip_thought_signature_validator",
    }
    assert "thoughtSignature" not in answer[2]
    assert results[0] == {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "Rain"}}}
    assert results[1]["functionResponse"]["response"] == {"error": "late"}


def test_an_id_that_is_too_long_for_openai_is_the_same_for_call_and_result() -> None:
    call = ToolCallPart(id="fc1--sig-" + "x" * 900, name="time", arguments="{}")
    result = ToolResultPart(tool_call_id=call.id, content="late")
    messages = body_of("openai", ask((*USER, Message("assistant", (call,)), Message("tool", (result,)))))["messages"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]
    assert len(messages[2]["tool_call_id"]) == 40


def test_sampling() -> None:
    openai = body_of("openai", FULL)
    assert (openai["max_completion_tokens"], openai["seed"], openai["temperature"]) == (100, 2**40, 1.5)
    assert not {"top_k", "min_p", "repetition_penalty", "max_tokens"} & openai.keys()
    vllm = body_of("openai", FULL, base_url="https://vllm.example/v1", vllm_fields=True)
    assert (vllm["max_tokens"], vllm["top_k"], vllm["min_p"], vllm["repetition_penalty"]) == (100, 7, 0.1, 1.1)
    assert vllm["include_reasoning"] is True
    anthropic = body_of("anthropic", FULL)
    assert (anthropic["temperature"], anthropic["top_k"], anthropic["stop_sequences"]) == (1.0, 7, ["END"])
    assert anthropic["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body_of("anthropic", ask())["max_tokens"] == 4096
    budget = body_of("anthropic", FULL, thinking_tokens=2000)
    assert (budget["thinking"]["budget_tokens"], budget["max_tokens"]) == (2000, 2100)
    gemini = body_of("gemini", FULL)["generationConfig"]
    assert (gemini["topK"], gemini["maxOutputTokens"], gemini["stopSequences"]) == (7, 100, ["END"])
    assert gemini["thinkingConfig"] == {"includeThoughts": True}
    assert 0 <= gemini["seed"] < 2**31


def test_tools() -> None:
    named = REQUESTS["named"]
    openai, anthropic, gemini = (body_of(kind, named) for kind in KINDS)
    assert [tool["function"]["name"] for tool in openai["tools"]] == ["time"]
    assert openai["tool_choice"] == {"type": "function", "function": {"name": "time"}}
    assert anthropic["tool_choice"] == {"type": "tool", "name": "time"}
    assert gemini["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["time"]}
    one = structs.replace(named, tool_choice=ToolChoice(parallel=False))
    assert body_of("openai", one)["parallel_tool_calls"] is False
    assert body_of("anthropic", one)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert refusal("gemini", one).param == "tool_choice.parallel"
    assert body_of("openai", FULL)["tools"][0]["function"]["strict"] is True


def test_formats() -> None:
    schema = REQUESTS["schema"]
    assert body_of("openai", schema)["response_format"]["json_schema"]["name"] == "my_answer"
    assert body_of("anthropic", schema)["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA}
    assert body_of("gemini", schema)["generationConfig"]["responseJsonSchema"] == SCHEMA
    any_json = ask(response_format=JsonObjectFormat())
    assert body_of("openai", any_json)["response_format"] == {"type": "json_object"}
    assert refusal("anthropic", any_json).param == "response_format"
    assert body_of("gemini", any_json)["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        (RegexFormat("a+"), {"regex": "a+"}),
        (ChoiceFormat(("a", "b")), {"choice": ["a", "b"]}),
        (GrammarFormat("root ::= x"), {"grammar": "root ::= x"}),
    ],
)
def test_forms_that_only_vllm_has(form: Any, sent: dict[str, Any]) -> None:
    request = ask(response_format=form)
    assert body_of("openai", request, vllm_fields=True)["structured_outputs"] == sent
    for kind in KINDS:
        assert refusal(kind, request).param == "response_format"


def refusal(kind: str, request: ChatCompletionRequest, **settings: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        prepare(kind, request, **settings)
    assert caught.value.fault is Fault.REQUEST
    assert caught.value.code in {ErrorCode.UNSUPPORTED_PARAMETER, ErrorCode.INVALID_REQUEST}
    return caught.value


ASKED: dict[str, ChatCompletionRequest] = {
    "generation_parameters.beam_search": sample(beam_search=BeamSearchParams(width=2)),
    "generation_parameters.best_of": sample(best_of=2),
    "generation_parameters.ignore_eos": sample(ignore_eos=True),
    "generation_parameters.logit_bias": sample(logit_bias={1: 1.0}),
    "generation_parameters.min_tokens": sample(min_tokens=1),
    "generation_parameters.n": sample(n=2),
    "output.logprobs": ask(output=OutputFlags(logprobs=True)),
    "output.prompt": ask(output=OutputFlags(prompt=True)),
    "output.token_ids": ask(output=OutputFlags(token_ids=True)),
    "prompts": ChatCompletionRequest(model="m", prompts=("a",)),
    "embedding": ChatCompletionRequest(model="m", prompts=("a",), embedding=EmbeddingParams()),
    "count_only": ask(count_only=True),
}
HONOURED = {
    "openai": {
        "generation_parameters.logit_bias",
        "generation_parameters.n",
        "output.logprobs",
        "prompts",
        "embedding",
    },
    "vllm": {
        "generation_parameters.ignore_eos",
        "generation_parameters.logit_bias",
        "generation_parameters.min_tokens",
        "generation_parameters.n",
        "output.logprobs",
        "output.token_ids",
        "prompts",
        "embedding",
    },
    "anthropic": {"count_only"},
    "gemini": {"generation_parameters.n", "output.logprobs", "embedding", "count_only"},
}


@pytest.mark.parametrize("field", ASKED)
@pytest.mark.parametrize("kind", HONOURED)
def test_what_is_honoured_and_what_is_refused(kind: str, field: str) -> None:
    settings: dict[str, Any] = {"vllm_fields": True} if kind == "vllm" else {}
    vendor = "openai" if kind == "vllm" else kind
    if field in HONOURED[kind]:
        assert prepare(vendor, ASKED[field], **settings).http.body
    else:
        assert refusal(vendor, ASKED[field], **settings).param == field


@pytest.mark.parametrize("kind", KINDS)
def test_extensions(kind: str) -> None:
    def extend(**extensions: Any) -> ChatCompletionRequest:
        return sample(temperature=0.5, provider_extensions=extensions)

    body = body_of(kind, extend(**{kind: {"x": {"a": 1}}, "up": {"x": {"b": 2}}, "other": {"y": 1}}))
    assert body["x"] == {"a": 1, "b": 2}
    assert "y" not in body
    assert refusal(kind, extend(up={"model": "gpt-9000"})).param.endswith("up.model")  # pyright: ignore[reportOptionalMemberAccess]
    assert refusal(kind, extend(up=[])).code == ErrorCode.INVALID_REQUEST
    assert refusal(kind, extend(vllm={"bad_words": ["x"]})).param.endswith("vllm.bad_words")  # pyright: ignore[reportOptionalMemberAccess]
    going_on = extend(vllm={"chat_template_kwargs": {"continue_final_message": True}})
    if kind == "anthropic":
        assert body_of(kind, going_on)
    else:
        assert refusal(kind, going_on).param.endswith("continue_final_message")  # pyright: ignore[reportOptionalMemberAccess]


def test_extensions_go_deep() -> None:
    request = sample(temperature=0.5, provider_extensions={"gemini": {"generationConfig": {"topK": 3}}})
    assert body_of("gemini", request)["generationConfig"] == {"temperature": 0.5, "topK": 3}


def test_vllm_gets_its_own_extension() -> None:
    extension = {
        "bad_words": ["x"],
        "chat_template_kwargs": {"reasoning_effort": "low", "enable_thinking": True, "continue_final_message": True},
    }
    body = body_of("openai", sample(provider_extensions={"vllm": extension}), vllm_fields=True)
    assert body["bad_words"] == ["x"]
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert body["reasoning_effort"] == "low"
    assert body["continue_final_message"] is True


def test_fields_that_a_server_refuses_are_left_out() -> None:
    body = body_of("openai", FULL, base_url="https://x.example/v1", omit_fields=("stream_options", "reasoning_content"))
    assert "stream_options" not in body
    assert "reasoning_content" not in body["messages"][3]


def test_a_model_can_not_become_another_path() -> None:
    request = structs.replace(ask(), model="../../secret?x=1")
    assert prepare("gemini", request).http.path == "/models/..%2F..%2Fsecret%3Fx%3D1:streamGenerateContent"


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
@pytest.mark.parametrize("arguments", ["{", "[1]", "3"])
def test_arguments_that_are_no_object(kind: str, arguments: str) -> None:
    call = Message("assistant", (ToolCallPart(id="c", name="time", arguments=arguments),))
    assert refusal(kind, ask((*USER, call))).param == "messages[1].content[0]"


@pytest.mark.parametrize(("signature", "thinks"), [("c2ln", True), (None, False)])
def test_a_turn_that_began_without_a_signed_thought_goes_on_without_one(signature: str | None, thinks: bool) -> None:
    call = ToolCallPart(id="c", name="time", arguments="{}")
    result = ToolResultPart(tool_call_id="c", content="late")
    turn = (Message("assistant", (ReasoningPart("Hm", signature), call)), Message("tool", (result,)))
    request = ask((*USER, *turn), output=OutputFlags(reasoning=True), tools=(TIME,))
    assert ("thinking" in body_of("anthropic", request, thinking_tokens=1024)) is thinks
    assert "thinking" in body_of(
        "anthropic", ask((*USER, *turn, *USER), output=OutputFlags(reasoning=True)), thinking_tokens=1024
    )

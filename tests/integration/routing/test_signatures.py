"""Two turns with thoughts and tools: what a vendor signed comes back to it unchanged, whichever client carries it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import anthropic
import httpx
import openai
import pytest
from anthropic.types import MessageParam, ThinkingConfigParam
from msgspec import json

from tests.integration.routing.rig import Stage, open_stage, running
from tests.support.upstream import Upstream, stream_of, to_events
from tests.support.vendor_streams import Values, gemini_chunk, messages_stream

SIGNED = "EqQBCkYIBxgCKkA+/signed=="
REDACTED = "EmwKAhgBEgy3va3pzix/redacted=="
CALLED = "CiQB0e2Kb+/calledA=="
SAID = "Cg8B/said+A="
SECRETS = (SIGNED, REDACTED, CALLED, SAID)

THOUGHTS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "A city.", "signature": SIGNED},
    {"type": "redacted_thinking", "data": REDACTED},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bonn"}},
]
ANTHROPIC_CALLS = messages_stream(
    [
        [
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "A "},
            {"type": "thinking_delta", "thinking": "city."},
            {"type": "signature_delta", "signature": SIGNED},
        ],
        [{"type": "redacted_thinking", "data": REDACTED}],
        [{"type": "text", "text": ""}, {"type": "text_delta", "text": "I look."}],
        [
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city":"Bonn"}'},
        ],
    ],
    stop="tool_use",
    usage={"output_tokens": 20},
)
ANTHROPIC_ENDS = messages_stream([[{"type": "text", "text": "Rain."}]], stop="end_turn", usage={"output_tokens": 2})

PARTS: list[dict[str, Any]] = [
    {"text": "I look.", "thoughtSignature": SAID},
    {"functionCall": {"id": "fc1", "name": "weather", "args": {"city": "Bonn"}}, "thoughtSignature": CALLED},
    {"functionCall": {"id": "fc2", "name": "time", "args": {}}},
]
USAGE = {"promptTokenCount": 8, "candidatesTokenCount": 5, "totalTokenCount": 13}
GEMINI_CALLS = [
    gemini_chunk({"text": "A city.", "thought": True}, usage={"promptTokenCount": 8}),
    gemini_chunk({"text": "I look."}),
    gemini_chunk({"text": "", "thoughtSignature": SAID}),
    gemini_chunk(*PARTS[1:]),
    gemini_chunk(finish="STOP", usage=USAGE),
]
GEMINI_ENDS = [gemini_chunk({"text": "Rain."}, finish="STOP", usage=USAGE)]

NAMES = ("weather", "time")
FUNCTIONS: Any = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]
TOOLS: Any = [{"name": name, "input_schema": {"type": "object"}} for name in NAMES]
THINKING: ThinkingConfigParam = {"type": "enabled", "budget_tokens": 1024}


def play(upstream: Upstream, *turns: Values) -> None:
    named = turns[0] is ANTHROPIC_CALLS or turns[0] is ANTHROPIC_ENDS
    upstream.play(*(stream_of(to_events(turn, named=named)) for turn in turns))


def check_anthropic(body: Any) -> None:
    """Check the next turn as Anthropic does: its thoughts come back before the calls, as they were."""
    assert body["messages"][1] == {"role": "assistant", "content": THOUGHTS}
    (result,) = body["messages"][2]["content"]
    assert result["tool_use_id"] == "toolu_1"


def check_gemini(body: Any, parts: Sequence[Mapping[str, Any]] = PARTS) -> None:
    """Check the next turn as Gemini does: each call has the signature that it had."""
    assert body["contents"][1] == {"role": "model", "parts": list(parts)}
    assert [part["functionResponse"]["id"] for part in body["contents"][2]["parts"]] == ["fc1", "fc2"]


def check_unsigned(body: Any) -> None:
    """Check that nothing of what anybody signed is in a body."""
    text = json.encode(body).decode()
    assert not [secret for secret in SECRETS if secret in text]
    assert "--sig-" not in text


def _openai(stage: Stage) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="sk-none", base_url=f"{stage.url}/v1", max_retries=0)


def _anthropic(stage: Stage) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="sk-none", base_url=stage.url, max_retries=0)


async def _ask_anthropic(stage: Stage, model: str, messages: list[Any], *, streamed: bool) -> Any:
    """Ask by Anthropic's client, and return its content as that sends it back."""
    async with _anthropic(stage) as client:
        if not streamed:
            return (
                await client.messages.create(
                    model=model, max_tokens=2048, messages=messages, tools=TOOLS, thinking=THINKING
                )
            ).content
        async with client.messages.stream(
            model=model, max_tokens=2048, messages=messages, tools=TOOLS, thinking=THINKING
        ) as told:
            return (await told.get_final_message()).content


def _results(content: Any) -> MessageParam:
    used = [block.id for block in content if block.type == "tool_use"]
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id_, "content": "rain"} for id_ in used]}


async def _ask_openai(stage: Stage, model: str, messages: list[Any], *, streamed: bool) -> Any:
    async with _openai(stage) as client:
        if not streamed:
            whole = await client.chat.completions.create(
                model=model, messages=messages, tools=FUNCTIONS, reasoning_effort="high"
            )
            return whole.choices[0].message
        async with client.chat.completions.stream(
            model=model, messages=messages, tools=FUNCTIONS, reasoning_effort="high"
        ) as told:
            async for _ in told:
                pass
            return told.current_completion_snapshot.choices[0].message


def _tool_messages(message: Any) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls]


def _only_calls(message: Any) -> dict[str, Any]:
    """Return a message as a client sends it back that knows of OpenAI's own fields only."""
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
        for c in message.tool_calls
    ]
    return {"role": "assistant", "content": message.content, "tool_calls": calls}


both = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
USER: dict[str, Any] = {"role": "user", "content": "Weather in Bonn?"}


@both
async def test_anthropics_client_on_anthropic(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], *, streamed: bool
) -> None:
    caplog.set_level("DEBUG")
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("anthropic"))
        upstream = stage.upstreams["anthropic"]
        play(upstream, ANTHROPIC_CALLS, ANTHROPIC_ENDS)
        async with running(stage):
            content = await _ask_anthropic(stage, "anthropic/big", [USER], streamed=streamed)
            assert [block.type for block in content] == ["thinking", "redacted_thinking", "text", "tool_use"]
            assert (content[0].thinking, content[0].signature) == ("A city.", SIGNED)
            turns = [USER, {"role": "assistant", "content": content}, _results(content)]
            end = await _ask_anthropic(stage, "anthropic/big", turns, streamed=streamed)
        assert end[0].text == "Rain."
        check_anthropic(upstream.asked[1].json)
    logged = capsys.readouterr().out + "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("anthropic")
    )
    assert "generation ended" in logged
    assert not [secret for secret in SECRETS if secret in logged]


@both
async def test_anthropics_client_on_gemini(tmp_path: Path, *, streamed: bool) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("gemini"))
        upstream = stage.upstreams["gemini"]
        play(upstream, GEMINI_CALLS, GEMINI_ENDS)
        async with running(stage):
            content = await _ask_anthropic(stage, "gemini/big", [USER], streamed=streamed)
            assert [block.type for block in content] == ["thinking", "text", "tool_use", "tool_use"]
            turns = [USER, {"role": "assistant", "content": content}, _results(content)]
            end = await _ask_anthropic(stage, "gemini/big", turns, streamed=streamed)
        assert end[0].text == "Rain."
        # There is no place for the signature of a text, which Gemini can do without.
        check_gemini(upstream.asked[1].json, [{"text": "I look."}, *PARTS[1:]])


@both
@pytest.mark.parametrize("keeps_all", [True, False])
async def test_openais_client_on_gemini(tmp_path: Path, *, streamed: bool, keeps_all: bool) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("gemini"))
        upstream = stage.upstreams["gemini"]
        play(upstream, GEMINI_CALLS, GEMINI_ENDS)
        async with running(stage):
            message = await _ask_openai(stage, "gemini/big", [USER], streamed=streamed)
            assert message.tool_calls[0].extra_content == {"google": {"thought_signature": CALLED}}
            assert getattr(message.tool_calls[1], "extra_content", None) is None
            answer = message.model_dump(exclude_none=True) if keeps_all else _only_calls(message)
            answer.pop("parsed", None)
            end = await _ask_openai(stage, "gemini/big", [USER, answer, *_tool_messages(message)], streamed=streamed)
        assert end.content == "Rain."
        check_gemini(upstream.asked[1].json, PARTS if keeps_all else [{"text": "I look."}, *PARTS[1:]])


@both
async def test_openais_client_on_anthropic(tmp_path: Path, *, streamed: bool) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("anthropic"))
        upstream = stage.upstreams["anthropic"]
        play(upstream, ANTHROPIC_CALLS, ANTHROPIC_ENDS)
        async with running(stage):
            message = await _ask_openai(stage, "anthropic/big", [USER], streamed=streamed)
            answer = message.model_dump(exclude_none=True)
            answer.pop("parsed", None)
            await _ask_openai(stage, "anthropic/big", [USER, answer, *_tool_messages(message)], streamed=streamed)
        check_anthropic(upstream.asked[1].json)


@pytest.mark.parametrize("kept_by", ["client", "server"])
@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
async def test_responses_on_any_vendor(tmp_path: Path, kind: str, kept_by: str) -> None:
    tools: Any = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in NAMES]
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers(kind))
        upstream = stage.upstreams[kind]
        if kind == "anthropic":
            play(upstream, ANTHROPIC_CALLS, ANTHROPIC_ENDS)
        else:
            play(upstream, GEMINI_CALLS, GEMINI_ENDS)
        async with running(stage), _openai(stage) as client:
            first = await client.responses.create(
                model=f"{kind}/big", input="Weather?", tools=tools, include=["reasoning.encrypted_content"]
            )
            results: list[Any] = [
                {"type": "function_call_output", "call_id": item.call_id, "output": "rain"}
                for item in first.output
                if item.type == "function_call"
            ]
            sent: list[Any] = [{"role": "user", "content": "Weather?"}, *first.output] if kept_by == "client" else []
            second = await client.responses.create(
                model=f"{kind}/big",
                input=[*sent, *results],
                tools=tools,
                previous_response_id=first.id if kept_by == "server" else openai.omit,
            )
        assert second.output_text == "Rain."
        if kind == "anthropic":
            check_anthropic(upstream.asked[1].json)
        else:
            check_gemini(upstream.asked[1].json, [{"text": "I look."}, *PARTS[1:]])


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
async def test_the_native_api_on_any_vendor(tmp_path: Path, kind: str) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers(kind))
        upstream = stage.upstreams[kind]
        if kind == "anthropic":
            play(upstream, ANTHROPIC_CALLS, ANTHROPIC_ENDS)
        else:
            play(upstream, GEMINI_CALLS, GEMINI_ENDS)
        body: dict[str, Any] = {
            "model": f"{kind}/big",
            "messages": [USER],
            "tools": [{"name": name} for name in NAMES],
            "output": {"reasoning": True, "signatures": True},
        }
        async with running(stage), httpx.AsyncClient(base_url=stage.url) as client:
            answer = (await client.post("/v1/generations", json=body)).raise_for_status().json()
            (sequence,) = answer["sequences"]
            results: list[Any] = [
                {"type": "tool_result", "tool_call_id": call["id"], "content": "rain"}
                for call in sequence["tool_calls"]
            ]
            body["messages"] += [
                {"role": "assistant", "content": sequence["parts"]},
                {"role": "tool", "content": results},
            ]
            (await client.post("/v1/generations", json=body)).raise_for_status()
        if kind == "anthropic":
            check_anthropic(upstream.asked[1].json)
        else:
            check_gemini(upstream.asked[1].json)


async def test_another_vendor_is_not_sent_what_it_did_not_sign_and_the_first_one_gets_it_again(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("anthropic", "gemini", "openai"))
        play(stage.upstreams["anthropic"], ANTHROPIC_CALLS, ANTHROPIC_ENDS)
        play(stage.upstreams["gemini"], GEMINI_CALLS, GEMINI_ENDS)
        async with running(stage):
            content = await _ask_anthropic(stage, "anthropic/big", [USER], streamed=True)
            turns = [USER, {"role": "assistant", "content": content}, _results(content)]
            others = await _ask_anthropic(stage, "gemini/big", turns, streamed=True)
            check_unsigned(stage.upstreams["gemini"].asked[0].json)
            turns += [{"role": "assistant", "content": others}, _results(others)]
            await _ask_anthropic(stage, "anthropic/big", turns, streamed=True)
            again = stage.upstreams["anthropic"].asked[1].json["messages"]
            assert again[1]["content"] == THOUGHTS
            check_unsigned(again[2:])
            await _ask_anthropic(stage, "gemini/big", turns, streamed=True)
            parts = stage.upstreams["gemini"].asked[1].json["contents"][3]["parts"]
            assert [part.get("thoughtSignature") for part in parts] == [None, CALLED, None]


async def test_our_own_models_take_any_turn(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("anthropic"))
        play(stage.upstreams["anthropic"], ANTHROPIC_CALLS)
        async with running(stage):
            content = await _ask_anthropic(stage, "anthropic/big", [USER], streamed=True)
            unsigned: Any = {"type": "thinking", "thinking": "Hm.", "signature": ""}
            said: Any = {"type": "text", "text": "Yes."}
            turns: list[Any] = [
                USER,
                {"role": "assistant", "content": [unsigned, said]},
                USER,
                {"role": "assistant", "content": content},
                _results(content),
            ]
            async with _anthropic(stage) as client:
                answer = await client.messages.create(
                    model="own", max_tokens=64, messages=turns, tools=TOOLS, thinking={"type": "adaptive"}
                )
            assert [block.text for block in answer.content if block.type == "text"] == ["our own words"]
            # The same turns go to the vendor without what it did not sign.
            play(stage.upstreams["anthropic"], ANTHROPIC_ENDS)
            await _ask_anthropic(stage, "anthropic/big", turns, streamed=False)
        sent = cast("list[dict[str, Any]]", stage.upstreams["anthropic"].asked[1].json["messages"])
        assert sent[1]["content"] == [{"type": "text", "text": "Yes."}]
        assert sent[3]["content"] == THOUGHTS

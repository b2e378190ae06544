"""The official clients of one vendor get answers from another, over real sockets all the way."""

from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from msgspec import json
from openai.types.chat import ChatCompletionToolParam

from tests.integration.routing.rig import Stage, open_stage, running
from tests.support.upstream import Upstream, stream_of, to_events, whole_of
from tests.support.vendor_streams import STREAMS, VendorStream

KINDS = ("openai", "anthropic", "gemini")
streams = pytest.mark.parametrize("stream", STREAMS, ids=[f"{s.kind}: {s.name}" for s in STREAMS])
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "time")
]
_ENDS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _openai(stage: Stage) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="sk-none", base_url=f"{stage.url}/v1", max_retries=0)


def _anthropic(stage: Stage) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="sk-none", base_url=stage.url, max_retries=0)


def _calls(stream: VendorStream) -> list[tuple[str, object]]:
    return [(call.name, json.decode(call.arguments)) for call in stream.calls]


@streams
async def test_an_openai_client_on_any_provider(tmp_path: Path, stream: VendorStream) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers(*KINDS))
        stage.upstreams[stream.kind].play(stream_of(*stream.events))
        async with (
            running(stage),
            _openai(stage) as client,
            client.chat.completions.stream(
                model=f"{stream.kind}/big",
                messages=[{"role": "user", "content": "Hi"}],
                tools=TOOLS,
                stream_options={"include_usage": True},
            ) as told,
        ):
            async for _ in told:
                pass
            answer = told.current_completion_snapshot
    choice = answer.choices[0]
    assert answer.model == f"{stream.kind}/big"
    assert (choice.message.content or "") == stream.text
    assert choice.finish_reason == stream.finish_reason
    found = choice.message.tool_calls or []
    assert [(call.function.name, json.decode(call.function.arguments or "{}")) for call in found] == _calls(stream)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == stream.usage.input_tokens
    assert answer.usage.completion_tokens == stream.usage.output_tokens


@streams
async def test_an_anthropic_client_on_any_provider(tmp_path: Path, stream: VendorStream) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers(*KINDS))
        stage.upstreams[stream.kind].play(stream_of(*stream.events))
        async with (
            running(stage),
            _anthropic(stage) as client,
            client.messages.stream(
                model=f"{stream.kind}/big",
                max_tokens=100,
                messages=[{"role": "user", "content": "Hi"}],
                tools=[{"name": name, "input_schema": {"type": "object"}} for name in ("weather", "time")],
            ) as told,
        ):
            answer = await told.get_final_message()
    assert answer.model == f"{stream.kind}/big"
    assert "".join(block.text for block in answer.content if block.type == "text") == stream.text
    used = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
    assert used == _calls(stream)
    assert answer.stop_reason == _ENDS[stream.finish_reason]
    assert answer.usage.output_tokens == stream.usage.output_tokens


def _vendor_is_ill(upstream: Upstream) -> None:
    upstream.play(whole_of({"error": {"message": "on fire", "type": "server_error"}}, status=500))


async def test_a_fallback_says_who_answered_and_keeps_the_name_that_was_asked_for(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(
            stage.providers(*KINDS)
            + '[routes.chat]\nretries = 0\ntargets = [{ model = "openai/big" }]\n'
            + 'fallbacks = [{ provider = "anthropic", model = "claude-x" }, { model = "own" }]\n'
        )
        _vendor_is_ill(stage.upstreams["openai"])
        text = next(s for s in STREAMS if s.kind == "anthropic" and s.name == "text")
        stage.upstreams["anthropic"].play(stream_of(*text.events))
        async with running(stage), _openai(stage) as client:
            whole = await client.chat.completions.with_raw_response.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}]
            )
            assert whole.headers["headrace-route"] == "provider:anthropic"
            answer = whole.parse()
            assert (answer.model, answer.choices[0].message.content) == ("chat", text.text)
            streamed = await client.chat.completions.with_raw_response.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            assert streamed.headers["headrace-route"] == "provider:anthropic"
            chunks = [chunk async for chunk in streamed.parse()]
            assert {chunk.model for chunk in chunks} == {"chat"}
            assert stage.upstreams["anthropic"].asked[0].json["model"] == "claude-x"
            _vendor_is_ill(stage.upstreams["anthropic"])
            ours = await client.chat.completions.with_raw_response.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}]
            )
            assert ours.headers["headrace-route"] == "own"
            assert ours.parse().choices[0].message.content == "our own words"
            metrics = await _get(stage, "/metrics")
            tried = 'headrace_routing_tries_total{outcome="finished",route="chat",target="anthropic/claude-x"} 2.0'
            assert tried in metrics


async def _get(stage: Stage, path: str) -> str:
    async with httpx.AsyncClient(base_url=stage.url) as client:
        return (await client.get(path)).raise_for_status().text


async def test_a_vendor_that_fails_behind_a_200_is_passed_over_while_nothing_was_told(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(
            stage.providers("anthropic")
            + '[routes.chat]\nretries = 0\ntargets = [{ model = "anthropic/big" }]\nfallbacks = [{ model = "own" }]\n'
        )
        text = next(s for s in STREAMS if s.kind == "anthropic" and s.name == "text")
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        stage.upstreams["anthropic"].play(stream_of(*text.events[:2], to_events([error], named=True)))
        async with running(stage), _anthropic(stage) as client:
            answer = await client.messages.create(
                model="chat", max_tokens=10, messages=[{"role": "user", "content": "Hi"}]
            )
        assert [block.text for block in answer.content if block.type == "text"] == ["our own words"]
        assert len(stage.upstreams["anthropic"].asked) == 1


async def test_a_failure_of_all_names_them_and_says_when_to_come_back(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(
            stage.providers("openai", "anthropic")
            + '[routes.chat]\ntargets = [{ model = "openai/big" }]\nfallbacks = [{ model = "anthropic/big" }]\n'
        )
        busy = whole_of({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "33"})
        for upstream in stage.upstreams.values():
            upstream.play(busy)
        async with running(stage), _openai(stage) as client:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "Hi"}])
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "33"
        assert "(tried: openai/big, anthropic/big)" in caught.value.message


async def test_private_calls_stay_whatever_says_so(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(
            stage.providers("openai")
            + '[routes.chat]\ntargets = [{ model = "openai/big" }]\nfallbacks = [{ model = "own" }]\n'
        )
        stage.upstreams["openai"].play(stream_of(*STREAMS[0].events))
        native = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
        private = {"Headrace-Privacy": "local_only"}
        async with running(stage), _openai(stage) as client, httpx.AsyncClient(base_url=stage.url) as http:
            answer = await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}], extra_headers=private
            )
            assert answer.choices[0].message.content == "our own words"
            said = (await http.post("/v1/generations", json=native | {"privacy": "local_only"})).json()
            assert said["sequences"][0]["text"] == "our own words"
            with pytest.raises(openai.PermissionDeniedError, match="must not leave"):
                await client.chat.completions.create(
                    model="openai/big", messages=[{"role": "user", "content": "Hi"}], extra_headers=private
                )
            counted = await http.post(
                "/v1/messages/count_tokens",
                json={"model": "openai/big", "messages": [{"role": "user", "content": "Hi"}]},
                headers=private | {"anthropic-version": "2023-06-01"},
            )
            assert counted.status_code == 403
            guess = await http.post("/v1/generations", json=native, headers={"Headrace-Privacy": "please"})
            assert guess.status_code == 400
        assert not stage.upstreams["openai"].asked


async def test_routes_are_listed_for_both_vendors_clients(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(
            stage.providers("openai")
            + '[routes.chat]\ncreated = 7\nowned_by = "us"\ntargets = [{ model = "own" }, { model = "openai/big" }]\n'
        )
        async with running(stage), _openai(stage) as client, _anthropic(stage) as other:
            listed = [model async for model in client.models.list()]
            assert [model.id for model in listed] == ["chat", "own", "openai/big"]
            assert (listed[0].created, listed[0].owned_by) == (7, "us")
            assert (await client.models.retrieve("openai/big")).owned_by == "openai"
            infos = {model.id: model.max_input_tokens async for model in other.models.list()}
            assert infos == {"chat": 256, "own": 256, "openai/big": None}

"""What is no chat: completions, embeddings, token counts; and further forms of the vendors' streams."""

import base64
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from headrace.providers.base import ProviderError
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, PromptEmbedded, SequenceDelta, TokenLogprob, Usage
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams, GenerationParameters, OutputFlags
from tests.support.providers import collect, fold, make_call, provider_at
from tests.support.upstream import Upstream, stream_of, to_events, whole_of
from tests.support.vendor_streams import (
    call_piece,
    chat_chunk,
    chat_usage,
    check_extra,
    completion_chunk,
    gemini_chunk,
    messages_stream,
)

USER = (Message("user", "Hello"),)


async def run(
    upstream: Upstream, kind: str, values: list[Any], request: ChatCompletionRequest | None = None, **settings: Any
) -> list[Event]:
    upstream.play(stream_of(to_events(values, named=kind == "anthropic")))
    async with provider_at(kind, upstream, **settings) as provider:
        return await collect(provider, None if request is None else make_call(request))


async def test_completions(upstream: Upstream) -> None:
    request = ChatCompletionRequest(
        model="m",
        prompts=("a", "b"),
        generation_parameters=GenerationParameters(n=2),
        output=OutputFlags(logprobs=True, top_logprobs=1),
    )
    logprobs = {"tokens": ["x"], "token_logprobs": [-0.5], "top_logprobs": [{"y": -0.1}], "text_offset": [0]}
    values: list[Any] = []
    for index in (2, 0, 3, 1):
        values.append(completion_chunk(f"t{index}", index=index, logprobs=logprobs))
        values.append(completion_chunk("", index=index, finish="length"))
    usage = {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
    answer = fold(
        await run(
            upstream, "openai", [*values, {**completion_chunk(""), "choices": [], "usage": usage}, b"[DONE]"], request
        )
    )
    assert [sequence.text for sequence in answer.sequences] == ["t0", "t1", "t2", "t3"]
    assert answer.usage == Usage(2, 4)
    assert answer.sequences[0].logprobs == (TokenLogprob(-1, "x", -0.5, None, (TokenLogprob(-1, "y", -0.1),)),)
    assert upstream.asked[0].target == "/v1/completions"


@pytest.mark.parametrize("form", ["numbers", "base64"])
async def test_embeddings_of_openai(upstream: Upstream, form: str) -> None:
    request = ChatCompletionRequest(model="m", prompts=("a", "b"), embedding=EmbeddingParams())
    vectors = [[0.5, -1.0], [2.0, 0.25]]
    packed = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
    data = [
        {"object": "embedding", "index": i, "embedding": (vectors if form == "numbers" else packed)[i]} for i in (1, 0)
    ]
    body = {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    if form == "numbers":
        check_extra(CreateEmbeddingResponse.model_validate(body))
    upstream.play(whole_of(body))
    async with provider_at("openai", upstream) as provider:
        answer = fold(await collect(provider, make_call(request)))
    assert [item.vector for item in answer.embeddings] == [struct.pack("<2f", *vector) for vector in vectors]
    assert answer.usage == Usage(2, 0)


@pytest.mark.parametrize(
    "body",
    [{"data": []}, {"data": [{"index": 0, "embedding": "!"}]}, {"data": [{"index": 0, "embedding": [1e300]}]}, 3],
)
async def test_embeddings_that_are_none(upstream: Upstream, body: Any) -> None:
    request = ChatCompletionRequest(model="m", prompts=("a",), embedding=EmbeddingParams())
    upstream.play(whole_of(body))
    async with provider_at("openai", upstream) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, make_call(request))
    assert caught.value.code == ErrorCode.PROVIDER_ERROR


async def test_embeddings_of_gemini(upstream: Upstream) -> None:
    request = ChatCompletionRequest(model="e", prompts=("a",), embedding=EmbeddingParams(dimensions=2))
    upstream.play(whole_of({"embeddings": [{"values": [0.5, 1.0]}]}))
    async with provider_at("gemini", upstream) as provider:
        events = await collect(provider, make_call(request))
    assert PromptEmbedded(0, struct.pack("<2f", 0.5, 1.0)) in events
    assert upstream.asked[0].target == "/v1beta/models/e:batchEmbedContents"
    assert upstream.asked[0].json["requests"][0]["outputDimensionality"] == 2


async def test_token_counts(upstream: Upstream) -> None:
    request = ChatCompletionRequest(model="m", messages=USER, count_only=True)
    for kind, body, target in (
        ("anthropic", {"input_tokens": 7}, "/v1/messages/count_tokens"),
        ("gemini", {"totalTokens": 7}, "/v1beta/models/m:countTokens"),
    ):
        upstream.play(whole_of(body))
        async with provider_at(kind, upstream) as provider:
            answer = fold(await collect(provider, make_call(request)))
        assert answer.usage == Usage(7, 0)
        assert upstream.asked[-1].target == target


async def test_several_answers_and_log_probabilities(upstream: Upstream) -> None:
    token = {
        "token": "é",
        "logprob": -0.1,
        "bytes": [195, 169],
        "top_logprobs": [{"token": "e", "logprob": -2.0, "bytes": [101]}],
    }
    request = ChatCompletionRequest(
        model="m",
        messages=USER,
        generation_parameters=GenerationParameters(n=2),
        output=OutputFlags(logprobs=True, top_logprobs=1),
    )
    values = [
        chat_chunk({"content": "b"}, index=1),
        chat_chunk({"content": "é"}, logprobs={"content": [token], "refusal": None}),
        chat_chunk(index=1, finish="stop"),
        chat_chunk(finish="length"),
        chat_usage(1, 2),
        b"[DONE]",
    ]
    answer = fold(await run(upstream, "openai", values, request))
    assert [(s.text, s.finish_reason) for s in answer.sequences] == [("é", "length"), ("b", "stop")]
    assert answer.sequences[0].logprobs == (
        TokenLogprob(-1, "é", -0.1, b"\xc3\xa9", (TokenLogprob(-1, "e", -2.0, b"e"),)),
    )
    unfinished = [value for value in values if value != values[2]]
    upstream.play(stream_of(to_events(unfinished)))
    async with provider_at("openai", upstream) as provider:
        with pytest.raises(ProviderError, match="no end"):
            await collect(provider, make_call(request))


async def test_calls_that_are_all_number_0(upstream: Upstream) -> None:
    """As some servers write them: told apart by their ids only, or with the id in each piece."""
    values = [
        chat_chunk(call_piece(0, call_id="a", name="x", arguments="{}")),
        chat_chunk(call_piece(0, call_id="b", name="y", arguments='{"k"')),
        chat_chunk(call_piece(0, call_id="b", name="y", arguments=": 1}")),
        chat_chunk(finish="stop"),
        b"[DONE]",
    ]
    (sequence,) = fold(await run(upstream, "openai", values)).sequences
    assert [(call.id, call.arguments) for call in sequence.tool_calls] == [("a", "{}"), ("b", '{"k": 1}')]
    assert sequence.finish_reason == "tool_calls"


async def test_a_call_without_an_id_gets_one(upstream: Upstream) -> None:
    values = [
        chat_chunk(call_piece(0, call_id="", name="x", arguments="{}")),
        chat_chunk(finish="tool_calls"),
        b"[DONE]",
    ]
    (sequence,) = fold(await run(upstream, "openai", values)).sequences
    assert sequence.tool_calls[0].id == "call_gen_1_0_0"


async def test_a_refusal_is_what_is_told(upstream: Upstream) -> None:
    values = [chat_chunk({"refusal": "I can't."}), chat_chunk(finish="stop"), b"[DONE]"]
    (sequence,) = fold(await run(upstream, "openai", values)).sequences
    assert (sequence.text, sequence.finish_reason) == ("I can't.", "content_filter")


async def test_thoughts_as_mistral_writes_them(upstream: Upstream) -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "42"}]
    first = chat_chunk({"role": "assistant"})
    first["choices"][0]["delta"]["content"] = parts
    (sequence,) = fold(await run(upstream, "openai", [first, chat_chunk(finish="stop"), b"[DONE]"])).sequences
    assert (sequence.reasoning, sequence.text) == ("Hm", "42")


async def test_what_vllm_adds(upstream: Upstream) -> None:
    request = ChatCompletionRequest(model="m", messages=USER, output=OutputFlags(token_ids=True))
    values = [
        chat_chunk({"content": "a"}, token_ids=[5, 6]),
        chat_chunk(finish="stop", stop_reason="END"),
        chat_chunk(
            choices=[],
            usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "prompt_cache_hit_tokens": 1},
        ),
        b"[DONE]",
    ]
    answer = fold(await run(upstream, "openai", values, request, vllm_fields=True))
    (sequence,) = answer.sequences
    assert sequence.token_ids == (5, 6)
    assert sequence.stop_sequence == "END"
    assert answer.usage.cached_tokens == 1


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("stop_sequence", "stop"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "stop"),
    ],
)
async def test_anthropics_reasons(upstream: Upstream, stop: str, reason: str) -> None:
    values = messages_stream([[{"type": "text", "text": "Hi"}]], stop=stop, usage={"output_tokens": 1})
    values.insert(1, {"type": "something_new", "index": "what"})
    values.insert(
        2, {"type": "content_block_start", "index": 9, "content_block": {"type": "server_tool_use", "id": "x"}}
    )
    del values[1]["index"]
    (sequence,) = fold(await run(upstream, "anthropic", values)).sequences
    assert (sequence.text, sequence.finish_reason) == ("Hi", reason)


async def test_a_prompt_that_gemini_does_not_let_through(upstream: Upstream) -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    answer = fold(await run(upstream, "gemini", [blocked]))
    assert [(s.text, s.finish_reason) for s in answer.sequences] == [("", "content_filter")]
    assert answer.usage == Usage(3, 0)


@pytest.mark.parametrize(
    ("finish", "code"), [("MALFORMED_FUNCTION_CALL", "provider_error"), ("OTHER", "provider_error")]
)
async def test_geminis_reasons_that_are_failures(upstream: Upstream, finish: str, code: str) -> None:
    upstream.play(stream_of(to_events([gemini_chunk({"text": "a"}, finish=finish)])))
    async with provider_at("gemini", upstream) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider)
    assert caught.value.code == code


async def test_log_probabilities_of_gemini(upstream: Upstream) -> None:
    result = {
        "chosenCandidates": [{"token": "a", "tokenId": 5, "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "tokenId": 6, "logProbability": -0.9}]}],
    }
    events = await run(upstream, "gemini", [gemini_chunk({"text": "a"}, finish="STOP", logprobsResult=result)])
    found = [event.logprobs for event in events if isinstance(event, SequenceDelta) and event.logprobs]
    assert found == [(TokenLogprob(5, "a", -0.5, None, (TokenLogprob(6, "b", -0.9),)),)]


async def test_what_each_call_carries(upstream: Upstream) -> None:
    upstream.play(stream_of(to_events([chat_chunk({"content": "a"}), chat_chunk(finish="stop"), b"[DONE]"])))
    base = f"{upstream.url}/openai/deployments/d?api-version=2024"
    async with provider_at(
        "openai", upstream, base_url=base, api_key_header="api-key", headers={"OpenAI-Organization": "org"}
    ) as provider:
        assert "sk-" not in repr(provider)
        await collect(provider)
    (asked,) = upstream.asked
    assert asked.target == "/openai/deployments/d/chat/completions?api-version=2024"
    assert asked.headers["api-key"].startswith("sk-")
    assert "authorization" not in asked.headers
    assert asked.headers["openai-organization"] == "org"
    assert asked.headers["x-request-id"] == "gen_1"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(("count", "told"), [(-5, 0), (10**30, 2**53), (None, 0)])
async def test_counts_that_are_none_settle_nothing_wrongly(upstream: Upstream, count: int | None, told: int) -> None:
    # Built by hand: our encoder refuses such a number, and a stranger's does not.
    body = to_events([chat_chunk({"content": "a"}), chat_chunk(finish="stop")]) + (
        b'data: {"choices": [], "usage": {"prompt_tokens": %b, "completion_tokens": %b}}\n\ndata: [DONE]\n\n'
        % ((b"null" if count is None else str(count).encode(),) * 2)
    )
    upstream.play(stream_of(body))
    async with provider_at("openai", upstream) as provider:
        assert fold(await collect(provider)).usage == Usage(told, told)


async def test_half_a_character_is_garbage(upstream: Upstream) -> None:
    upstream.play(stream_of(b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n'))
    async with provider_at("openai", upstream) as provider:
        with pytest.raises(ProviderError, match="can't be read"):
            await collect(provider)

# pyright: reportUnknownMemberType=false
"""The same bytes, read by the vendors' own clients and by ours: the same text, calls and usage."""

import base64

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import RedactedThinkingBlock, TextBlock, ThinkingBlock, ToolUseBlock
from google import genai
from msgspec import Struct
from openai import AsyncOpenAI

from headrace.schema.events import Usage
from tests.support.providers import KEY, collect, fold, provider_at
from tests.support.upstream import Upstream, stream_of
from tests.support.vendor_streams import STREAMS, VendorStream


class Read(Struct, frozen=True):
    """What a client made of a stream."""

    text: str
    reasoning: str
    calls: list[tuple[str, str, str]]
    usage: Usage
    signatures: list[str] = []


async def read_openai(url: str) -> Read:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        text = reasoning = ""
        calls: dict[int, list[str]] = {}
        usage = Usage(0, 0)
        stream = await client.chat.completions.create(
            model="m", messages=[], stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                for piece in choice.delta.tool_calls or ():
                    call = calls.setdefault(piece.index, ["", "", ""])
                    assert piece.function
                    for i, value in enumerate((piece.id, piece.function.name, piece.function.arguments)):
                        call[i] += value or ""
            if (found := chunk.usage) is not None:
                assert found.prompt_tokens_details
                assert found.completion_tokens_details
                usage = Usage(
                    found.prompt_tokens,
                    found.completion_tokens,
                    found.prompt_tokens_details.cached_tokens or 0,
                    found.completion_tokens_details.reasoning_tokens or 0,
                )
        return Read(text, reasoning, [(c[0], c[1], c[2]) for _, c in sorted(calls.items())], usage)


async def read_anthropic(url: str) -> Read:
    async with AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        async with client.messages.stream(model="m", messages=[], max_tokens=5) as stream:
            message = await stream.get_final_message()
        usage = message.usage
        cached = usage.cache_read_input_tokens or 0
        total = usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0)
        details = usage.output_tokens_details
        return Read(
            "".join([block.text for block in message.content if isinstance(block, TextBlock)]),
            "".join([block.thinking for block in message.content if isinstance(block, ThinkingBlock)]),
            [(b.id, b.name, str(b.input)) for b in message.content if isinstance(b, ToolUseBlock)],
            Usage(total, usage.output_tokens, cached, details.thinking_tokens if details else 0),
            [
                block.signature if isinstance(block, ThinkingBlock) else block.data
                for block in message.content
                if isinstance(block, ThinkingBlock | RedactedThinkingBlock)
            ],
        )


async def read_gemini(url: str) -> Read:
    client = genai.Client(api_key=KEY, http_options={"base_url": url, "api_version": "v1beta"})
    text = reasoning = ""
    calls: list[tuple[str, str, str]] = []
    signatures: list[str] = []
    usage = Usage(0, 0)
    async for chunk in await client.aio.models.generate_content_stream(model="m", contents="Hello"):
        for candidate in chunk.candidates or ():
            for part in (candidate.content.parts if candidate.content else None) or ():
                if part.thought_signature:
                    signatures.append(base64.b64encode(part.thought_signature).decode())
                if part.function_call:
                    calls.append(
                        (part.function_call.id or "", part.function_call.name or "", str(part.function_call.args))
                    )
                elif part.thought:
                    reasoning += part.text or ""
                else:
                    text += part.text or ""
        if (found := chunk.usage_metadata) is not None:
            thoughts = found.thoughts_token_count or 0
            output = (found.candidates_token_count or 0) + thoughts
            usage = Usage(found.prompt_token_count or 0, output, found.cached_content_token_count or 0, thoughts)
    await client.aio.aclose()
    return Read(text, reasoning, calls, usage, signatures)


READERS = {"openai": read_openai, "anthropic": read_anthropic, "gemini": read_gemini}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("stream", STREAMS, ids=[f"{s.kind}: {s.name}" for s in STREAMS])
async def test_ours_reads_what_theirs_does(upstream: Upstream, stream: VendorStream) -> None:
    upstream.play(stream_of(*stream.events))
    theirs = await READERS[stream.kind](upstream.url)
    async with provider_at(stream.kind, upstream) as provider:
        answer = fold(await collect(provider))
    (sequence,) = answer.sequences
    assert sequence.text == theirs.text
    assert sequence.reasoning == theirs.reasoning
    assert [part.signature for part in sequence.parts if part.signature] == theirs.signatures
    assert answer.usage == theirs.usage
    assert len(sequence.tool_calls) == len(theirs.calls)
    for ours, (call_id, name, arguments) in zip(sequence.tool_calls, theirs.calls, strict=True):
        assert ours.id == call_id
        assert ours.name == name
        assert arguments.replace("'", '"').replace(" ", "") == ours.arguments.replace(" ", "")
    asked = upstream.asked
    assert [(request.method, request.target) for request in asked[1:]] == [(asked[0].method, asked[0].target)]
    # The newest version of Anthropic's API takes the key as a bearer token; the one spoken here has its own header.
    key_header = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}[stream.kind]
    assert KEY in asked[1].headers[key_header]
    assert stream.kind == "anthropic" or asked[0].headers[key_header] == asked[1].headers[key_header]
    assert ("anthropic-version" in asked[1].headers) == (stream.kind == "anthropic")

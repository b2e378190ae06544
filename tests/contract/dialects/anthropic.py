"""Anthropic's messages under the suite."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.gateway.dialects.anthropic.errors import AnthropicDialect
from headrace.gateway.dialects.anthropic.parse import AnthropicParser
from headrace.gateway.dialects.base import Rendering
from headrace.schema.events import FinishReason
from tests.contract.dialects.base import (
    MODEL,
    TOOLS,
    Frame,
    Signed,
    Told,
    ToldSequence,
    decode_arguments,
    open_rendering,
    signed_in,
)
from tests.contract.dialects.scripts import Feature, Script

_DELTAS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


class AnthropicAdapter:
    """`/v1/messages`, and its count of tokens."""

    name = "anthropic"
    features = frozenset[Feature]({"reasoning", "tools", "stop", "count", "signatures"})
    signs = frozenset({"reasoning", "tool_call"})
    ends: Mapping[FinishReason, str] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    }
    dialect = AnthropicDialect()

    def __init__(self) -> None:
        self._parser = AnthropicParser()

    def open(self, script: Script, *, stream: bool) -> Rendering:
        features = script.features
        tools = [{"name": name, "input_schema": schema} for name, schema in TOOLS.items()]
        body: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Hello"}],
            **({"tools": tools} if "tools" in features else {}),
            **({"thinking": {"type": "enabled", "budget_tokens": 1024}} if "reasoning" in features else {}),
        }
        if "count" in features:
            return open_rendering(self._parser.parse_count(msgspec.json.encode(body)), stream=stream)
        body |= {"max_tokens": 4096, "stream": stream, **({"stop_sequences": ["END"]} if "stop" in features else {})}
        return open_rendering(self._parser.parse(msgspec.json.encode(body)), stream=stream)

    def can_stream(self, script: Script) -> bool:
        return "count" not in script.features

    def is_terminal(self, frame: Frame) -> bool:
        return frame.event in ("message_stop", "error")

    def read_frames(self, frames: Sequence[Frame]) -> Told:
        start, *middle, delta, stop = [frame.read() for frame in frames]
        assert [frame.event for frame in frames] == [event["type"] for event in (start, *middle, delta, stop)]
        assert [event["type"] for event in (start, delta, stop)] == ["message_start", "message_delta", "message_stop"]
        blocks: list[dict[str, Any]] = []
        for event in middle:
            match event["type"]:
                case "content_block_start":
                    assert event["index"] == len(blocks)
                    blocks.append({**event["content_block"], "partial_json": ""})
                case "content_block_delta":
                    assert event["index"] == len(blocks) - 1
                    if (name := _DELTAS.get(event["delta"]["type"])) is not None:
                        blocks[-1][name] += event["delta"][name]
                case kind:
                    assert kind in ("content_block_stop", "ping")
        for block in blocks:
            if block["type"] == "tool_use":
                block["input"] = decode_arguments(block["partial_json"] or "{}")
            del block["partial_json"]
        return self._to_told({**start["message"], **delta["delta"], "content": blocks, "usage": delta["usage"]})

    def read_whole(self, body: dict[str, Any]) -> Told:
        if "content" not in body:
            return Told(sequences={}, usage=body)
        return self._to_told(body)

    def _send_back(self, blocks: list[dict[str, Any]]) -> tuple[Signed, ...]:
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "42"}
            for block in blocks
            if block["type"] == "tool_use"
        ]
        answer = [{"role": "assistant", "content": blocks}] if blocks else []
        user = {"role": "user", "content": "Hello"}
        then = {"role": "user", "content": [*results, {"type": "text", "text": "So?"}]}
        body = {"model": MODEL, "max_tokens": 9, "messages": [user, *answer, then]}
        return signed_in(self._parser.parse(msgspec.json.encode(body)).request.messages)

    def _to_told(self, message: dict[str, Any]) -> Told:
        blocks = message["content"]
        calls = [block for block in blocks if block["type"] == "tool_use"]
        sequence = ToldSequence(
            text="".join(block["text"] for block in blocks if block["type"] == "text"),
            end=message["stop_reason"],
            stop=message["stop_sequence"],
            reasoning="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            calls=tuple((block["name"], block["input"]) for block in calls),
            call_ids=tuple(block["id"] for block in calls),
            signed=self._send_back(blocks),
        )
        tokens = ("input_tokens", "output_tokens", "cache_read_input_tokens")
        return Told(sequences={0: sequence}, usage={name: message["usage"][name] for name in tokens})

    def read_tokens(self, usage: dict[str, Any]) -> tuple[int, int]:
        return usage["input_tokens"] + usage.get("cache_read_input_tokens", 0), usage.get("output_tokens", 0)

    def read_failure(self, frames: Sequence[Frame]) -> str:
        assert frames[-1].event == "error"
        return self.read_error(frames[-1].read())

    def read_error(self, body: dict[str, Any]) -> str:
        assert body["type"] == "error"
        assert set(body["error"]) == {"type", "message"}
        return body["error"]["message"]

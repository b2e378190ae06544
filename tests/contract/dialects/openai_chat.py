"""OpenAI's chat completions under the suite."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.gateway.dialects.base import Rendering
from headrace.gateway.dialects.openai.chat.parse import OpenAIParser
from headrace.gateway.dialects.openai.errors import OpenAIDialect
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

DONE = "[DONE]"


class OpenAIChatAdapter:
    """`/v1/chat/completions`."""

    name = "openai chat"
    features = frozenset[Feature]({"n", "reasoning", "tools", "logprobs", "stop", "signatures"})
    signs = frozenset({"reasoning", "text", "tool_call"})
    ends: Mapping[FinishReason, str] = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
    }
    dialect = OpenAIDialect()

    def __init__(self) -> None:
        self._parser = OpenAIParser()

    def open(self, script: Script, *, stream: bool) -> Rendering:
        features = script.features
        functions = [{"type": "function", "function": {"name": n, "parameters": s}} for n, s in TOOLS.items()]
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": stream,
            "n": 3 if "n" in features else 1,
            **({"stream_options": {"include_usage": True}} if stream else {}),
            **({"tools": functions} if "tools" in features else {}),
            **({"include_reasoning": True} if "reasoning" in features else {}),
            **({"logprobs": True, "top_logprobs": 2} if "logprobs" in features else {}),
            **({"stop": "END"} if "stop" in features else {}),
        }
        return open_rendering(self._parser.parse(msgspec.json.encode(body)), stream=stream)

    def can_stream(self, script: Script) -> bool:
        return True

    def is_terminal(self, frame: Frame) -> bool:
        return frame.data == DONE or "error" in frame.read()

    def read_frames(self, frames: Sequence[Frame]) -> Told:
        *chunks, usage, done = frames
        assert done.data == DONE
        assert usage.read()["choices"] == []
        said: dict[int, dict[str, Any]] = {}
        for chunk in chunks:
            body = chunk.read()
            assert body["usage"] is None
            for choice in body["choices"]:
                _grow(said, choice)
        sequences = {index: self._to_sequence(_close(choice["message"]), choice) for index, choice in said.items()}
        return Told(sequences=sequences, usage=usage.read()["usage"])

    def read_whole(self, body: dict[str, Any]) -> Told:
        sequences = {choice["index"]: self._to_sequence(choice["message"], choice) for choice in body["choices"]}
        return Told(sequences=sequences, usage=body["usage"])

    def _send_back(self, message: dict[str, Any]) -> tuple[Signed, ...]:
        answer = {"role": "assistant", **message, "content": message["content"] or ""}
        if not answer.get("tool_calls"):
            answer.pop("tool_calls", None)
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in answer.get("tool_calls", ())
        ]
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}, answer, *results]}
        return signed_in(self._parser.parse(msgspec.json.encode(body)).request.messages)

    def _to_sequence(self, message: dict[str, Any], choice: dict[str, Any]) -> ToldSequence:
        items: list[dict[str, Any]] = message.get("tool_calls", [])
        calls = [call["function"] for call in items]
        return ToldSequence(
            text=message["content"] or "",
            end=choice["finish_reason"],
            reasoning=message.get("reasoning_content") or "",
            calls=tuple((call["name"], decode_arguments(call["arguments"])) for call in calls),
            call_ids=tuple(call["id"] for call in items),
            logprobs=tuple(token["logprob"] for token in (choice["logprobs"] or {"content": ()})["content"]),
            signed=self._send_back(message),
        )

    def read_tokens(self, usage: dict[str, Any]) -> tuple[int, int]:
        return usage["prompt_tokens"], usage["completion_tokens"]

    def read_failure(self, frames: Sequence[Frame]) -> str:
        return self.read_error(frames[-1].read())

    def read_error(self, body: dict[str, Any]) -> str:
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]["message"]


def _grow(said: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    """Add a choice of a frame to a whole one."""
    delta = choice["delta"]
    begun = said.get(choice["index"])
    if begun is None:
        assert delta["role"] == "assistant"
        begun = said[choice["index"]] = {
            "message": {"content": None, "tool_calls": {}},
            "finish_reason": None,
            "logprobs": None,
        }
    else:
        assert "role" not in delta
    assert begun["finish_reason"] is None, "something after the end"
    begun["finish_reason"] = choice["finish_reason"]
    message = begun["message"]
    for name in ("content", "reasoning_content"):
        if delta.get(name) is not None:
            message[name] = (message.get(name) or "") + delta[name]
    for block in delta.get("thinking_blocks", ()):
        blocks = message.setdefault("thinking_blocks", [])
        assert block["index"] == len(blocks)
        blocks.append(block)
    if "extra_content" in delta:
        assert "extra_content" not in message
        message["extra_content"] = delta["extra_content"]
    for piece in delta.get("tool_calls", ()):
        call = message["tool_calls"].setdefault(piece["index"], {"function": {"name": "", "arguments": ""}, "id": ""})
        call["id"] += piece.get("id", "")
        if "extra_content" in piece:
            call["extra_content"] = piece["extra_content"]
        call["function"]["name"] += piece["function"].get("name", "")
        call["function"]["arguments"] += piece["function"].get("arguments", "")
    if choice["logprobs"] is not None:
        begun["logprobs"] = {
            "content": [*(begun["logprobs"] or {"content": []})["content"], *choice["logprobs"]["content"]]
        }


def _close(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "tool_calls": list(message["tool_calls"].values())}

"""The native dialect under the suite."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.gateway.dialects.base import Rendering
from headrace.gateway.dialects.native.errors import NativeDialect
from headrace.gateway.dialects.native.parse import NativeParser
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
from tests.contract.dialects.scripts import ECHOED, Feature, Script

_MESSAGES = [{"role": "user", "content": "Hello"}]


class NativeAdapter:
    """Headrace's own words."""

    name = "native"
    features = frozenset[Feature]({"n", "reasoning", "tools", "logprobs", "stop", "count", "echo", "signatures"})
    signs = frozenset({"reasoning", "text", "tool_call"})
    ends: Mapping[FinishReason, str] = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
    }
    dialect = NativeDialect()

    def __init__(self) -> None:
        self._parser = NativeParser()

    def open(self, script: Script, *, stream: bool) -> Rendering:
        features = script.features
        body = {
            "model": MODEL,
            "stream": stream,
            "tools": [{"name": name, "parameters": schema} for name, schema in TOOLS.items()],
            "output": {
                "usage": True,
                "timings": True,
                "queue_position": True,
                "reasoning": "reasoning" in features,
                "signatures": "signatures" in features,
                "logprobs": bool(features & {"logprobs", "echo"}),
                "token_ids": bool(features & {"logprobs", "echo"}),
                "prompt": "echo" in features,
                "prompt_logprobs": 2 if "echo" in features else None,
            },
            "generation_parameters": {"n": 3 if "n" in features else 1, "stop": ["END"] if "stop" in features else []},
            "count_only": "count" in features,
            **({"prompts": [ECHOED]} if "echo" in features else {"messages": _MESSAGES}),
        }
        return open_rendering(self._parser.parse(msgspec.json.encode(body)), stream=stream)

    def can_stream(self, script: Script) -> bool:
        return True

    def is_terminal(self, frame: Frame) -> bool:
        return self._events([frame])[-1]["type"] in ("generation_finished", "generation_failed")

    def _events(self, frames: Sequence[Frame]) -> list[dict[str, Any]]:
        assert all(frame.event == "chunk" for frame in frames)
        return [event for frame in frames for event in frame.read()["events"]]

    def read_frames(self, frames: Sequence[Frame]) -> Told:
        growing: dict[int, dict[str, Any]] = {}
        prompts: list[dict[str, Any]] = []
        last: dict[str, Any] = {}
        for event in self._events(frames):
            match event:
                case {"type": "sequence_started", "index": index}:
                    growing[index] = {
                        "text": "",
                        "reasoning": "",
                        "calls": {},
                        "logprobs": [],
                        "token_ids": [],
                        "parts": [],
                    }
                case {"type": "sequence_delta", "index": index}:
                    _grow(growing[index], event)
                case {"type": "sequence_finished", "index": index}:
                    growing[index]["end"] = event
                case {"type": "prompt_echoed"}:
                    prompts.append(event)
                case _:
                    last = event
        sequences = {
            index: ToldSequence(
                text=said["text"],
                end=said["end"]["finish_reason"],
                stop=said["end"].get("stop_sequence"),
                reasoning=said["reasoning"],
                calls=tuple((piece["name"], decode_arguments(piece["arguments"])) for piece in said["calls"].values()),
                call_ids=tuple(piece["id"] for piece in said["calls"].values()),
                logprobs=tuple(said["logprobs"]),
                token_ids=tuple(said["token_ids"]),
                signed=self._send_back(said["parts"]),
            )
            for index, said in growing.items()
        }
        return Told(sequences=sequences, usage=last["usage"], prompts=tuple(prompt["text"] for prompt in prompts))

    def read_whole(self, body: dict[str, Any]) -> Told:
        sequences = {
            item["index"]: ToldSequence(
                text=item["text"],
                end=item["finish_reason"],
                stop=item.get("stop_sequence"),
                reasoning=item.get("reasoning", ""),
                calls=tuple((call["name"], decode_arguments(call["arguments"])) for call in item.get("tool_calls", ())),
                call_ids=tuple(call["id"] for call in item.get("tool_calls", ())),
                logprobs=tuple(token["logprob"] for token in item.get("logprobs", ())),
                token_ids=tuple(item.get("token_ids", ())),
                signed=self._send_back(item.get("parts", [])),
            )
            for item in body["sequences"]
        }
        prompts = tuple(prompt["text"] for prompt in body.get("prompts", ()))
        return Told(sequences=sequences, usage=body["usage"], prompts=prompts)

    def _send_back(self, parts: list[dict[str, Any]]) -> tuple[Signed, ...]:
        answer = [{"role": "assistant", "content": parts}] if parts else []
        body = {"model": MODEL, "messages": [*_MESSAGES, *answer]}
        return signed_in(self._parser.parse(msgspec.json.encode(body)).request.messages)

    def read_tokens(self, usage: dict[str, Any]) -> tuple[int, int]:
        return usage["input_tokens"], usage["output_tokens"]

    def read_failure(self, frames: Sequence[Frame]) -> str:
        return self.read_error(self._events(frames)[-1])

    def read_error(self, body: dict[str, Any]) -> str:
        assert set(body["error"]) == {"code", "message", "param", "retryable"}
        return body["error"]["message"]


def _grow(said: dict[str, Any], event: dict[str, Any]) -> None:
    said["text"] += event["text"]
    said["reasoning"] += event.get("reasoning", "")
    said["logprobs"] += (token["logprob"] for token in event.get("logprobs", ()))
    said["token_ids"] += event.get("token_ids", ())
    _grow_parts(said["parts"], event)
    for piece in event.get("tool_calls", ()):
        call = said["calls"].setdefault(piece["index"], {"arguments": "", "id": "", "name": ""})
        call["arguments"] += piece.get("arguments", "")
        call["id"] += piece.get("id", "")
        call["name"] += piece.get("name", "")


def _grow_parts(parts: list[dict[str, Any]], event: dict[str, Any]) -> None:
    """Put the content of the next message together, as a client of a stream does."""
    for kind, piece, signature in (
        ("reasoning", event.get("reasoning", ""), event.get("thought_signature")),
        ("text", event["text"], event.get("text_signature")),
    ):
        if piece:
            _reach(parts, kind)["text"] += piece
        if signature:
            is_new = signature.get("is_redacted", False)
            part = {"type": kind, "text": ""} if is_new else _reach(parts, kind)
            part |= signature
            if is_new:
                parts.append(part)
    for piece in event.get("tool_calls", ()):
        if "id" in piece:
            fields = {name: value for name, value in piece.items() if name != "index"}
            parts.append({"type": "tool_call", "arguments": "", **fields})
        else:
            parts[-1]["arguments"] += piece["arguments"]


def _reach(parts: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    if not parts or parts[-1]["type"] != kind or "signature" in parts[-1]:
        parts.append({"type": kind, "text": ""})
    return parts[-1]

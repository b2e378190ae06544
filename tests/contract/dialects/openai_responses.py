"""OpenAI's responses under the suite."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.gateway.dialects.base import Rendering
from headrace.gateway.dialects.openai.responses.errors import ResponsesDialect
from headrace.gateway.dialects.openai.responses.items import ItemReference
from headrace.gateway.dialects.openai.responses.parse import BodyReader, to_request
from headrace.gateway.dialects.openai.responses.render import ResponseRendering
from headrace.schema.events import FinishReason
from tests.contract.dialects.base import MODEL, TOOLS, Frame, Signed, Told, ToldSequence, decode_arguments, signed_in
from tests.contract.dialects.scripts import REQUEST_ID, Feature, Script

_ENDS = ("response.completed", "response.incomplete", "response.failed")


class OpenAIResponsesAdapter:
    """`/v1/responses`."""

    name = "openai responses"
    features = frozenset[Feature]({"reasoning", "tools", "logprobs", "signatures"})
    signs = frozenset({"reasoning", "tool_call"})
    ends: Mapping[FinishReason, str] = {
        "stop": "completed",
        "length": "max_output_tokens",
        "tool_calls": "completed",
        "content_filter": "content_filter",
    }
    dialect = ResponsesDialect()

    def __init__(self) -> None:
        self._reader = BodyReader()

    def open(self, script: Script, *, stream: bool) -> Rendering:
        functions = [{"type": "function", "name": name, "parameters": schema} for name, schema in TOOLS.items()]
        body = {
            "model": MODEL,
            "input": "Hello",
            "stream": stream,
            **({"tools": functions} if "tools" in script.features else {}),
            **({"include": ["message.output_text.logprobs"]} if "logprobs" in script.features else {}),
        }
        return ResponseRendering.of(REQUEST_ID, body=self._reader.read(msgspec.json.encode(body)))

    def can_stream(self, script: Script) -> bool:
        return True

    def is_terminal(self, frame: Frame) -> bool:
        return frame.read()["type"] in _ENDS

    def read_frames(self, frames: Sequence[Frame]) -> Told:
        items: dict[int, dict[str, Any]] = {}
        for number, frame in enumerate(frames):
            event = frame.read()
            assert frame.event == event["type"]
            assert event["sequence_number"] == number
            if event["type"] == "response.output_item.added":
                items[event["output_index"]] = {**event["item"], "said": "", "logprobs": []}
            elif event["type"].endswith(".delta"):
                items[event["output_index"]]["said"] += event["delta"]
                items[event["output_index"]]["logprobs"] += event.get("logprobs", ())
        whole = frames[-1].read()["response"]
        for index, item in enumerate(whole["output"]):
            assert items[index]["id"] == item["id"]
            assert items[index]["said"] == _said_by(item)
            assert items[index]["logprobs"] == _logprobs_of(item)
        assert len(items) == len(whole["output"])
        return self.read_whole(whole)

    def read_whole(self, body: dict[str, Any]) -> Told:
        items = body["output"]
        calls = [item for item in items if item["type"] == "function_call"]
        sequence = ToldSequence(
            text="".join(_said_by(item) for item in items if item["type"] == "message"),
            end=body["incomplete_details"]["reason"] if body["status"] == "incomplete" else body["status"],
            reasoning="".join(_said_by(item) for item in items if item["type"] == "reasoning"),
            calls=tuple((call["name"], decode_arguments(call["arguments"])) for call in calls),
            call_ids=tuple(call["call_id"] for call in calls),
            logprobs=tuple(token["logprob"] for item in items for token in _logprobs_of(item)),
            signed=self._send_back(items),
        )
        return Told(sequences={0: sequence}, usage=body["usage"])

    def _send_back(self, items: list[dict[str, Any]]) -> tuple[Signed, ...]:
        calls = [item["call_id"] for item in items if item["type"] == "function_call"]
        results = [{"type": "function_call_output", "call_id": call_id, "output": "42"} for call_id in calls]
        body = {"model": MODEL, "input": [{"role": "user", "content": "Hello"}, *items, *results]}
        read = self._reader.read(msgspec.json.encode(body))
        sent = [item for item in read.input if not isinstance(item, str | ItemReference)]
        return signed_in(to_request(read, history=(), items=sent).messages)

    def read_tokens(self, usage: dict[str, Any]) -> tuple[int, int]:
        return usage["input_tokens"], usage["output_tokens"]

    def read_failure(self, frames: Sequence[Frame]) -> str:
        failed = frames[-1].read()
        assert failed["type"] == "response.failed"
        assert failed["response"]["status"] == "failed"
        assert set(failed["response"]["error"]) == {"code", "message"}
        return failed["response"]["error"]["message"]

    def read_error(self, body: dict[str, Any]) -> str:
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]["message"]


def _said_by(item: dict[str, Any]) -> str:
    if item["type"] == "function_call":
        return item["arguments"]
    return "".join(part["text"] for part in item["content"])


def _logprobs_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [token for part in item.get("content", ()) for token in part.get("logprobs") or ()]

"""The vendors' streams, in the words of their documentation; each piece is held to the vendor's own types."""

from collections.abc import Sequence
from typing import Any

from anthropic.types import RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from msgspec import Struct
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter

from headrace.schema.events import Usage
from tests.support.upstream import to_events

_anthropic_events: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)

Values = list[dict[str, Any]]
# Further fields that servers of OpenAI's API have, and its types do not.
_SERVERS_FIELDS = {"reasoning_content", "reasoning", "stop_reason", "token_ids", "prompt_cache_hit_tokens"}


class Call(Struct, frozen=True):
    """A call that the stream has."""

    id: str
    name: str
    arguments: str


class VendorStream(Struct, frozen=True, kw_only=True):
    """A stream, and what it says.

    Attributes:
        kind: whose.
        name: for the test's.
        values: the data of its events.
        text: all of it.
        reasoning: all of it.
        calls: all of them.
        usage: in our words.
        finish_reason: ours.
        ends: data after the values.
        signatures: of thoughts, texts and calls, in the order in which they come.
    """

    kind: str
    name: str
    values: Values
    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    usage: Usage
    finish_reason: str
    ends: tuple[bytes, ...] = ()
    signatures: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes of the stream."""
        return to_events([*self.values, *self.ends], named=self.kind == "anthropic")

    @property
    def events(self) -> list[bytes]:
        """The bytes of each of its events."""
        return [to_events([value], named=self.kind == "anthropic") for value in (*self.values, *self.ends)]


def check_extra(model: object) -> None:
    """Fail if a model of the SDK was given a field that it does not know."""
    if isinstance(model, BaseModel):
        unknown = set(model.model_extra or {}) - _SERVERS_FIELDS
        assert not unknown, f"{type(model).__name__} has no {unknown}"
        for name in type(model).model_fields:
            check_extra(getattr(model, name))
    elif isinstance(model, list):
        for item in model:  # pyright: ignore[reportUnknownVariableType]
            check_extra(item)  # pyright: ignore[reportUnknownArgumentType]


def chat_chunk(
    delta: dict[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Return a chunk of OpenAI's chat."""
    choices = [
        {"index": index, "delta": delta or {}, "logprobs": fields.pop("logprobs", None), "finish_reason": finish}
    ]
    choices[0] |= {name: fields.pop(name) for name in ("stop_reason", "token_ids") if name in fields}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-x",
        "choices": choices,
        "usage": None,
        **fields,
    }
    check_extra(ChatCompletionChunk.model_validate(value))
    return value


def chat_usage(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """Return the chunk with the usage, which has no choices."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return chat_chunk(choices=[], usage=usage)


def call_piece(
    index: int, *, call_id: str | None = None, name: str | None = None, arguments: str = ""
) -> dict[str, Any]:
    """Return the delta of a piece of a call."""
    piece: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id is not None:
        piece |= {"id": call_id, "type": "function"}
        piece["function"]["name"] = name
    return {"tool_calls": [piece]}


def completion_chunk(text: str, *, index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of OpenAI's completions."""
    choice = {"index": index, "text": text, "finish_reason": finish, "logprobs": fields.pop("logprobs", None)}
    value = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], **fields}
    if finish is not None:
        check_extra(Completion.model_validate(value))
    return value


def messages_stream(blocks: Sequence[Sequence[dict[str, Any]]], *, stop: str, usage: dict[str, Any]) -> Values:
    """Return Anthropic's stream of blocks, each of which is what it begins with and its deltas."""
    start: dict[str, Any] = {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 4,
                "cache_read_input_tokens": 6,
                "output_tokens": 1,
            },
        },
    }
    values: Values = [start]
    for index, (begin, *deltas) in enumerate(blocks):
        values.append({"type": "content_block_start", "index": index, "content_block": begin})
        if index == 0:
            values.append({"type": "ping"})
        values += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        values.append({"type": "content_block_stop", "index": index})
    values.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage})
    values.append({"type": "message_stop"})
    for value in values:
        if value["type"] != "ping":
            check_extra(_anthropic_events.validate_python(value))
    return values


def gemini_chunk(
    *parts: dict[str, Any], finish: str | None = None, usage: dict[str, Any] | None = None, **candidate: Any
) -> dict[str, Any]:
    """Return a piece of Gemini's stream."""
    found: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **candidate}
    if finish is not None:
        found["finishReason"] = finish
    value: dict[str, Any] = {"candidates": [found], "modelVersion": "gemini-x", "responseId": "r"}
    if usage is not None:
        value["usageMetadata"] = usage
    # These types refuse what they do not know.
    GenerateContentResponse.model_validate(value)
    return value


TEXT = "Héllo, wörld! 👩‍🚀 完了"
PIECES = ("Hé", "llo, wö", "rld! 👩", "\u200d🚀", " 完", "了")

STREAMS: tuple[VendorStream, ...] = (
    VendorStream(
        kind="openai",
        name="text",
        values=[
            chat_chunk({"role": "assistant", "content": "", "refusal": None}),
            *(chat_chunk({"content": piece}) for piece in PIECES),
            chat_chunk(finish="stop"),
            chat_usage(12, 7, cached=5),
        ],
        ends=(b"[DONE]",),
        text=TEXT,
        usage=Usage(12, 7, 5, 0),
        finish_reason="stop",
    ),
    VendorStream(
        kind="openai",
        name="calls",
        values=[
            chat_chunk({"role": "assistant", "content": None}),
            chat_chunk(call_piece(0, call_id="call_a", name="weather")),
            chat_chunk(call_piece(0, arguments='{"city": "Zü')),
            chat_chunk(call_piece(0, arguments='rich"}')),
            chat_chunk(call_piece(1, call_id="call_b", name="time")),
            chat_chunk(call_piece(1, arguments="{}")),
            chat_chunk(finish="tool_calls"),
            chat_usage(30, 20),
        ],
        ends=(b"[DONE]",),
        calls=(Call("call_a", "weather", '{"city": "Zürich"}'), Call("call_b", "time", "{}")),
        usage=Usage(30, 20),
        finish_reason="tool_calls",
    ),
    VendorStream(
        kind="openai",
        name="reasoning",
        values=[
            chat_chunk({"role": "assistant", "reasoning_content": "Let me "}),
            chat_chunk({"reasoning_content": "see…"}),
            chat_chunk({"content": "42"}),
            chat_chunk(finish="length"),
            chat_usage(3, 9, reasoning=6),
        ],
        ends=(b"[DONE]",),
        text="42",
        reasoning="Let me see…",
        usage=Usage(3, 9, 0, 6),
        finish_reason="length",
    ),
    VendorStream(
        kind="anthropic",
        name="text",
        values=messages_stream(
            [[{"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in PIECES)]],
            stop="end_turn",
            usage={"output_tokens": 15},
        ),
        text=TEXT,
        usage=Usage(20, 15, 6, 0),
        finish_reason="stop",
    ),
    VendorStream(
        kind="anthropic",
        name="thinking and calls",
        values=messages_stream(
            [
                [
                    {"type": "thinking", "thinking": "", "signature": ""},
                    {"type": "thinking_delta", "thinking": "Two "},
                    {"type": "thinking_delta", "thinking": "cities."},
                    {"type": "signature_delta", "signature": "c2lnbmVk"},
                ],
                [{"type": "redacted_thinking", "data": "abc"}],
                [{"type": "text", "text": ""}, {"type": "text_delta", "text": "I look."}],
                [
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
                    {"type": "input_json_delta", "partial_json": ""},
                    {"type": "input_json_delta", "partial_json": '{"city": "Zü'},
                    {"type": "input_json_delta", "partial_json": 'rich"}'},
                ],
                [{"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}],
            ],
            stop="tool_use",
            usage={
                "input_tokens": 11,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 9,
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 12},
            },
        ),
        text="I look.",
        reasoning="Two cities.",
        signatures=("c2lnbmVk", "abc"),
        calls=(Call("toolu_1", "weather", '{"city": "Zürich"}'), Call("toolu_2", "time", "{}")),
        usage=Usage(20, 40, 9, 12),
        finish_reason="tool_calls",
    ),
    VendorStream(
        kind="gemini",
        name="text",
        values=[
            gemini_chunk({"text": "Thinking it over.", "thought": True}, usage={"promptTokenCount": 8}),
            *(gemini_chunk({"text": piece}) for piece in PIECES),
            gemini_chunk(
                {"text": "", "thoughtSignature": "dGV4dA=="},
                finish="MAX_TOKENS",
                usage={
                    "promptTokenCount": 8,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 4,
                    "cachedContentTokenCount": 2,
                    "totalTokenCount": 17,
                },
            ),
        ],
        text=TEXT,
        signatures=("dGV4dA==",),
        reasoning="Thinking it over.",
        usage=Usage(8, 9, 2, 4),
        finish_reason="length",
    ),
    VendorStream(
        kind="gemini",
        name="calls",
        values=[
            gemini_chunk({"text": "I look."}, usage={"promptTokenCount": 8}),
            gemini_chunk(
                {
                    "functionCall": {"id": "fc1", "name": "weather", "args": {"city": "Zürich"}},
                    "thoughtSignature": "c2lnbmVk",
                },
                {"functionCall": {"id": "fc2", "name": "time", "args": {}}},
            ),
            gemini_chunk(
                finish="STOP",
                usage={"promptTokenCount": 8, "candidatesTokenCount": 5, "totalTokenCount": 13},
            ),
        ],
        text="I look.",
        signatures=("c2lnbmVk",),
        calls=(Call("fc1", "weather", '{"city":"Zürich"}'), Call("fc2", "time", "{}")),
        usage=Usage(8, 5),
        finish_reason="tool_calls",
    ),
)

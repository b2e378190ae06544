"""Bodies that every route which takes one accepts: what random bodies are made from.

The first of each route is the plainest. The others use as many of its fields as agree with each other.
"""

from typing import Any

Body = dict[str, Any]

_SCHEMA: Body = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
_TOOL: Body = {"name": "get_weather", "description": "The weather.", "parameters": _SCHEMA}
_HELLO = {"role": "user", "content": "Hello"}
_CHAT: list[Body] = [
    {"messages": [_HELLO], "max_tokens": 8},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": "me"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
        "tools": [{"type": "function", "function": _TOOL}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "parallel_tool_calls": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    {
        "messages": [{"role": "developer", "content": "Be brief."}, _HELLO],
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["END", "STOP"],
        "seed": 1,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"5": -10},
        "logprobs": True,
        "top_logprobs": 2,
        "max_completion_tokens": 8,
        "metadata": {"a": "b"},
        "user": "me",
    },
    {
        "messages": [_HELLO],
        "response_format": {"type": "json_schema", "json_schema": {"name": "weather", "schema": _SCHEMA}},
        "min_tokens": 1,
        "top_k": 5,
        "priority": 3,
    },
]
_COMPLETIONS: list[Body] = [
    {"prompt": "Hello", "max_tokens": 8},
    {"prompt": ["Hello", "world"], "n": 2, "best_of": 2, "echo": True, "logprobs": 2, "max_tokens": 4},
    {"prompt": [1, 2, 3], "stream": True, "stop": "END", "temperature": 0, "seed": 7, "max_tokens": 4},
]
_RESPONSES: list[Body] = [
    {"input": "Hello", "max_output_tokens": 16},
    {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        ],
        "instructions": "Be brief.",
        "tools": [{"type": "function", "strict": True, **_TOOL}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "stream": True,
        "store": False,
    },
    {
        "input": "Hello",
        "text": {"format": {"type": "json_schema", "name": "weather", "schema": _SCHEMA, "strict": True}},
        "temperature": 0.5,
        "top_p": 0.9,
        "metadata": {"a": "b"},
    },
]
_CLAUDE_TURNS: list[Body] = [
    {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]},
]
_CLAUDE_TOOL: Body = {"name": "get_weather", "description": "The weather.", "input_schema": _SCHEMA}
_MESSAGES: list[Body] = [
    {"messages": [_HELLO], "max_tokens": 8},
    {
        "messages": _CLAUDE_TURNS,
        "max_tokens": 64,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "tools": [_CLAUDE_TOOL],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stream": True,
    },
    {
        "messages": [_HELLO],
        "max_tokens": 8,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 5,
        "top_p": 0.9,
        "metadata": {"user_id": "me"},
    },
]
_COUNTS: list[Body] = [
    {"messages": [_HELLO]},
    {"messages": _CLAUDE_TURNS, "system": "Be brief.", "tools": [_CLAUDE_TOOL], "tool_choice": {"type": "auto"}},
]
_GENERATIONS: list[Body] = [
    {"messages": [_HELLO], "generation_parameters": {"max_tokens": 8}},
    {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "tools": [_TOOL],
        "tool_choice": {"mode": "required", "names": ["get_weather"], "parallel": False},
        "stream": True,
    },
    {
        "prompts": ["Hello", [1, 2, 3]],
        "generation_parameters": {"max_tokens": 4, "n": 2, "stop": ["END"], "logit_bias": {"5": -1}, "seed": 3},
        "output": {"logprobs": True, "top_logprobs": 1, "token_ids": True, "usage": True, "timings": True},
    },
    {
        "messages": [_HELLO],
        "response_format": {"type": "json_schema", "schema": _SCHEMA},
        "output": {"queue_position": True, "prompt": True},
    },
]
BODIES: dict[str, list[Body]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/completions": _COMPLETIONS,
    "/v1/responses": _RESPONSES,
    "/v1/messages": _MESSAGES,
    "/v1/messages/count_tokens": _COUNTS,
    "/v1/generations": _GENERATIONS,
}
EMBEDDING_BODIES: dict[str, list[Body]] = {
    "/v1/embeddings": [
        {"input": "Hello"},
        {"input": ["Hello", "world"], "encoding_format": "base64", "dimensions": 16, "user": "me"},
        {"input": [[1, 2], [3]], "encoding_format": "float"},
    ],
    "/v1/generations": [{"prompts": ["Hello", [1, 2]], "embedding": {"dimensions": 8}}],
}
"""For a model that makes embeddings."""


def list_bodies(bodies: dict[str, list[Body]], *, model: str) -> list[tuple[str, Body]]:
    """Return every route with each of its bodies, which ask for a model."""
    return [(path, {"model": model, **body}) for path, choices in bodies.items() for body in choices]

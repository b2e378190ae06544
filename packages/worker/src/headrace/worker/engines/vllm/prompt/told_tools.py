"""Tools for models whose chat template knows none: they are told in the system message.

The form is that of Hermes, which many models have learnt and vLLM can read back: tools as JSON in <tools>, calls as
JSON in <tool_call>, results in <tool_response>.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.worker.engines.vllm.prompt.conversation import ChatMessage

_INTRODUCTION = (
    "You may call these tools:\n<tools>\n{tools}\n</tools>\nTo call one, write its name and its arguments as JSON:\n"
    '<tool_call>\n{{"name": NAME, "arguments": ARGUMENTS}}\n</tool_call>'
)


def template_knows_tools(template: str | None) -> bool:
    """Tell whether a chat template does anything with tools."""
    return template is not None and "tools" in template


def tell_tools(conversation: Sequence[ChatMessage], tools: Sequence[dict[str, Any]]) -> list[ChatMessage]:
    """Return the conversation with the tools, and with calls and results as text.

    Args:
        conversation: as `write_conversation` returns it.
        tools: as `write_tools` returns them.
    """
    told = [_tell_message(message) for message in conversation]
    if tools:
        lines = "\n".join(_to_json(tool) for tool in tools)
        told = _add_to_system(told, _INTRODUCTION.format(tools=lines))
    return _join_results(told)


def _tell_message(message: ChatMessage) -> ChatMessage:
    if message["role"] == "tool":
        return {"role": "user", "content": _tell_result(message["content"])}
    if "tool_calls" not in message:
        return message
    calls = [_tell_call(call["function"]) for call in message["tool_calls"]]
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return rest | {"content": "\n".join(filter(None, [message["content"], *calls]))}


def _tell_result(content: Any) -> Any:
    if isinstance(content, str):
        return f"<tool_response>\n{content}\n</tool_response>"
    return [{"type": "text", "text": "<tool_response>"}, *content, {"type": "text", "text": "</tool_response>"}]


def _tell_call(function: dict[str, Any]) -> str:
    try:
        arguments: Any = msgspec.json.decode(function["arguments"] or "{}")
    except msgspec.DecodeError:
        # What a model once wrote need not be JSON; its own words are the best there is.
        arguments = function["arguments"]
    return f"<tool_call>\n{_to_json({'name': function['name'], 'arguments': arguments})}\n</tool_call>"


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _add_to_system(conversation: list[ChatMessage], text: str) -> list[ChatMessage]:
    if not conversation or conversation[0]["role"] != "system":
        return [{"role": "system", "content": text}, *conversation]
    first = conversation[0]
    return [first | {"content": "\n\n".join(filter(None, [first["content"], text]))}, *conversation[1:]]


def _join_results(conversation: list[ChatMessage]) -> list[ChatMessage]:
    """Return the conversation with a user's messages in a row as one: templates like speakers to take turns."""
    joined: list[ChatMessage] = []
    for message in conversation:
        last = joined[-1] if joined else None
        if last is not None and _is_result(last) and message["role"] == "user" and isinstance(message["content"], str):
            joined[-1] = last | {"content": f"{last['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def _is_result(message: ChatMessage) -> bool:
    content = message["content"]
    return message["role"] == "user" and isinstance(content, str) and content.startswith("<tool_response>")

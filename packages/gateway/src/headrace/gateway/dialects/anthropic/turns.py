"""What Anthropic demands of a conversation beyond its form: each call is answered, and the last turn can be continued.

A template would take a call without its result, and the model would make up the rest.
"""

from collections.abc import Sequence

from headrace.gateway.dialects.anthropic.content import MessageParam, TextBlock, ToolResultBlock, ToolUseBlock
from headrace.gateway.dialects.anthropic.messages import refuse_value


def check_turns(messages: Sequence[MessageParam]) -> None:
    """Check that results follow their calls, and calls have results. Neighbours of one role are one turn.

    Raises:
        RequestRefusedError: naming the block.
    """
    calls: dict[str, str] = {}
    open_calls: dict[str, str] = {}
    is_answering = False
    for i, message in enumerate(messages):
        if message.role == "assistant" and is_answering:
            _check_answered(open_calls)
            calls, open_calls, is_answering = {}, {}, False
        is_answering = is_answering or message.role == "user"
        for j, block in enumerate(message.content if not isinstance(message.content, str) else ()):
            path = f"messages[{i}].content[{j}]"
            if isinstance(block, ToolUseBlock):
                calls[block.id] = open_calls[block.id] = path
            elif isinstance(block, ToolResultBlock):
                if block.tool_use_id not in calls:
                    raise refuse_value(
                        f"{path}.tool_use_id", "there is no tool_use block of this id in the message before"
                    )
                open_calls.pop(block.tool_use_id, None)
    _check_answered(open_calls)


def _check_answered(open_calls: dict[str, str]) -> None:
    for path in open_calls.values():
        raise refuse_value(path, "there is no tool_result block for this tool_use block in the next message")


def is_continued(messages: Sequence[MessageParam]) -> bool:
    """Tell whether the answer goes on with the last message.

    Raises:
        RequestRefusedError: that message can't be gone on with.
    """
    last = messages[-1]
    if last.role != "assistant":
        return False
    path = f"messages[{len(messages) - 1}].content"
    if not (text := _last_text(last)):
        raise refuse_value(path, "the last message can be continued only if it ends with text")
    if text[-1].isspace():
        raise refuse_value(path, "the last message must not end with white space, if it is the assistant's")
    return True


def _last_text(message: MessageParam) -> str:
    if isinstance(message.content, str):
        return message.content
    last = message.content[-1] if message.content else None
    return last.text if isinstance(last, TextBlock) else ""

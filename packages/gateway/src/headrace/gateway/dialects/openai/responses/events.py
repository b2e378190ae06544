"""The events of a stream, in the order in which they can come.

Each has the number of the event in its stream, counted from 0, and all but the deltas are encoded from these Structs;
deltas are written by hand for speed, and a test holds them to the Structs.
"""

from typing import Any

from msgspec import Struct

from headrace.gateway.dialects.openai.responses.items import Logprob, OutputItem, OutputText, ReasoningText
from headrace.gateway.dialects.openai.responses.objects import ResponseObject


class ResponseCreated(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.created"):
    """The first event."""

    response: ResponseObject
    sequence_number: int


class ResponseInProgress(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.in_progress"):
    """The model is at work."""

    response: ResponseObject
    sequence_number: int


class ItemAdded(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.output_item.added"):
    """An item begins."""

    output_index: int
    item: OutputItem
    sequence_number: int


class PartAdded(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.content_part.added"):
    """The content of a message or of reasoning begins; there is one part in each."""

    item_id: str
    output_index: int
    content_index: int = 0
    part: OutputText | ReasoningText
    sequence_number: int


class TextDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.delta"):
    """What the text of a message grew by."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    logprobs: tuple[Logprob, ...] = ()
    sequence_number: int


class TextDone(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.done"):
    """The text of a message is whole."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    logprobs: tuple[Logprob, ...] = ()
    sequence_number: int


class ReasoningDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.reasoning_text.delta"):
    """What reasoning grew by."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str
    sequence_number: int


class ReasoningDone(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.reasoning_text.done"):
    """Reasoning is whole."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str
    sequence_number: int


class ArgumentsDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.function_call_arguments.delta"):
    """What the arguments of a call grew by."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int


class ArgumentsDone(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.function_call_arguments.done"):
    """The arguments of a call are whole."""

    item_id: str
    output_index: int
    name: str
    arguments: str
    sequence_number: int


class PartDone(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.content_part.done"):
    """The content of a message or of reasoning is whole."""

    item_id: str
    output_index: int
    content_index: int = 0
    part: OutputText | ReasoningText
    sequence_number: int


class ItemDone(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.output_item.done"):
    """An item is whole."""

    output_index: int
    item: OutputItem
    sequence_number: int


class ErrorEvent(Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """What went wrong, in finer words than the failed response that follows has."""

    code: str | None
    message: str
    param: str | None
    sequence_number: int


class ResponseCompleted(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.completed"):
    """The last event of a response that is whole."""

    response: ResponseObject
    sequence_number: int


class ResponseIncomplete(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.incomplete"):
    """The last event of a response that was cut off."""

    response: ResponseObject
    sequence_number: int


class ResponseFailed(Struct, frozen=True, kw_only=True, tag_field="type", tag="response.failed"):
    """The last event of a response that failed or was cancelled, after an `error`."""

    response: ResponseObject
    sequence_number: int


StreamEvent = (
    ResponseCreated
    | ResponseInProgress
    | ItemAdded
    | PartAdded
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
    | PartDone
    | ItemDone
    | ErrorEvent
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
)


def name_of(event: Struct) -> str:
    """Return the name of an event, which its frame says twice."""
    tag: Any = event.__struct_config__.tag
    return str(tag)

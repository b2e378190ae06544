"""The frames of a stream of typed events.

All that is the same in every delta of an item is made once, when the item begins; a delta costs the escaping of its
text, its number and one join.
"""

from msgspec import Struct, structs

from headrace.gateway.dialects.openai.responses.errors import to_error
from headrace.gateway.dialects.openai.responses.events import (
    ArgumentsDone,
    ErrorEvent,
    ItemAdded,
    ItemDone,
    PartAdded,
    PartDone,
    ReasoningDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    TextDone,
    name_of,
)
from headrace.gateway.dialects.openai.responses.items import Logprob, OutputItem, OutputText
from headrace.gateway.dialects.openai.responses.objects import ResponseObject
from headrace.gateway.dialects.openai.responses.output import Kind, OpenItem
from headrace.gateway.failure import Failure
from headrace.gateway.frames import encode_text, encode_value

_DELTAS: dict[Kind, bytes] = {
    "reasoning": b"response.reasoning_text.delta",
    "message": b"response.output_text.delta",
    "function_call": b"response.function_call_arguments.delta",
}


class FrameWriter:
    """Collects frames; an `OutputListener`.

    Args:
        after: the number of the last frame that the client has; it and those before it are left out.
    """

    def __init__(self, *, after: int = -1) -> None:
        self._after = after
        self._frames: list[bytes] = []
        self._number = 0
        self._delta_head = b""
        self._delta_tail = b""

    def take(self) -> bytes:
        """Return the frames since the last call."""
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames

    def begin(self, response: ResponseObject) -> None:
        """Write the first two events."""
        started = structs.replace(response, status="in_progress")
        self._write(ResponseCreated(response=started, sequence_number=self._next()))
        self._write(ResponseInProgress(response=started, sequence_number=self._next()))

    def end(self, response: ResponseObject) -> None:
        """Write the last event."""
        match response.status:
            case "completed":
                self._write(ResponseCompleted(response=response, sequence_number=self._next()))
            case "incomplete":
                self._write(ResponseIncomplete(response=response, sequence_number=self._next()))
            case _:
                self._write(ResponseFailed(response=response, sequence_number=self._next()))

    def fail(self, failure: Failure) -> None:
        """Write what went wrong."""
        error = to_error(failure).error
        code = error.code or error.type
        self._write(ErrorEvent(code=code, message=error.message, param=error.param, sequence_number=self._next()))

    def item_added(self, item: OpenItem) -> None:
        """Write that an item begins, and its one part."""
        self._write(ItemAdded(output_index=item.index, item=item.to_item("in_progress"), sequence_number=self._next()))
        if item.kind != "function_call":
            part = PartAdded(
                item_id=item.id, output_index=item.index, part=item.to_part(), sequence_number=self._next()
            )
            self._write(part)
        self._make_delta(item)

    def item_grew(self, item: OpenItem, piece: str, logprobs: tuple[Logprob, ...]) -> None:
        """Write a delta."""
        tail = self._delta_tail
        if item.kind == "message":
            tail = b',"logprobs":%b%b' % (encode_value(logprobs) if logprobs else b"[]", tail)
        number = self._next()
        if number > self._after:
            self._frames.append(b"%b%b%b%d}\n\n" % (self._delta_head, encode_text(piece), tail, number))

    def item_ended(self, item: OpenItem, whole: OutputItem) -> None:
        """Write that its part is whole, and then it."""
        self._write(self._to_done(item))
        if item.kind != "function_call":
            part = PartDone(item_id=item.id, output_index=item.index, part=item.to_part(), sequence_number=self._next())
            self._write(part)
        self._write(ItemDone(output_index=item.index, item=whole, sequence_number=self._next()))

    def _to_done(self, item: OpenItem) -> Struct:
        part = item.to_part()
        if item.kind == "function_call":
            return ArgumentsDone(
                item_id=item.id,
                output_index=item.index,
                name=item.name,
                arguments=part.text,
                sequence_number=self._next(),
            )
        if isinstance(part, OutputText):
            return TextDone(
                item_id=item.id,
                output_index=item.index,
                text=part.text,
                logprobs=part.logprobs or (),
                sequence_number=self._next(),
            )
        return ReasoningDone(item_id=item.id, output_index=item.index, text=part.text, sequence_number=self._next())

    def _make_delta(self, item: OpenItem) -> None:
        name = _DELTAS[item.kind]
        place = b"" if item.kind == "function_call" else b'"content_index":0,'
        self._delta_head = b'event: %b\ndata: {"type":"%b","item_id":"%b","output_index":%d,%b"delta":' % (
            name,
            name,
            item.id.encode(),
            item.index,
            place,
        )
        self._delta_tail = b',"sequence_number":'

    def _next(self) -> int:
        number = self._number
        self._number += 1
        return number

    def _write(self, event: Struct) -> None:
        # It has the newest number.
        if self._number - 1 <= self._after:
            return
        self._frames.append(b"event: %b\ndata: %b\n\n" % (name_of(event).encode(), encode_value(event)))

"""A retained generation as its client finds it again: as it stands, or as a stream from where the client stood."""

from collections.abc import Sequence

import msgspec
from litestar.response.base import ASGIResponse
from msgspec import structs

from headrace.gateway.answer import AnswerFold
from headrace.gateway.asgi import HttpRequest
from headrace.gateway.call import Call
from headrace.gateway.callers import caller_of
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.base import Order
from headrace.gateway.dialects.native import wire
from headrace.gateway.dialects.native.errors import NativeDialect, to_detail
from headrace.gateway.dialects.native.render import to_whole_answer
from headrace.gateway.dialects.native.stream import NativeRendering
from headrace.gateway.failure import failure_of_event
from headrace.gateway.headers import RETAINED_HEADER, request_id_headers
from headrace.gateway.retained.kept import Taken, check_place
from headrace.gateway.retained.numbering import NumberedRendering
from headrace.gateway.retained.places import START, read_place
from headrace.gateway.retained.reader import OpenedSource
from headrace.gateway.sse import EventStreamResponse
from headrace.scheduler.base import Submission
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
    is_terminal,
)

_MEDIA_TYPE = "application/json"
_HEADERS = {RETAINED_HEADER: "true"}


class RetainedDesk:
    """Answers those that come back for a generation.

    Args:
        desk: where it is found.
        dialect: writes errors.
    """

    def __init__(self, desk: Desk, dialect: NativeDialect) -> None:
        self._desk = desk
        self._dialect = dialect

    async def show(self, http: HttpRequest, generation_id: str) -> ASGIResponse:
        """Return a generation as it stands, or as a stream for a client that accepts one.

        Raises:
            HeadraceError: `not_found`, or a header is wrong.
        """
        taken = await self._desk.take_up(generation_id, caller_of(http))
        try:
            if "text/event-stream" in http.headers.get("accept", ""):
                return await self._stream(http, taken)
            body = msgspec.json.encode(to_state(taken.reader.so_far(), taken.submission))
        except BaseException:
            await taken.reader.aclose()
            raise
        await taken.reader.aclose()
        headers = {**request_id_headers(generation_id), **_HEADERS}
        return ASGIResponse(body=body, media_type=_MEDIA_TYPE, headers=headers)

    async def _stream(self, http: HttpRequest, taken: Taken) -> ASGIResponse:
        submission = taken.submission
        named = read_place(http.headers)
        if named is not None:
            await check_place(named, taken.reader)
        place = START if named is None else named.place
        if taken.reader.has_nothing_after(place.events):
            await taken.reader.aclose()
            # What tells a browser's EventSource to come back no more.
            return ASGIResponse(status_code=204)
        rendering = NumberedRendering(NativeRendering(submission), taken.reader, place=place)
        order = Order(submission=submission, dialect=self._dialect, rendering=rendering, stream=True)
        call = Call(order, (), headers=_HEADERS)
        return EventStreamResponse(call, OpenedSource(taken.reader), self._desk.settings)


def to_state(events: Sequence[Event], submission: Submission) -> wire.RetainedGeneration:
    """Return a generation as it stands after these events."""
    last = events[-1] if events else None
    failure = last if isinstance(last, GenerationFailed) else None
    open_ = _open_sequences(events)
    fold = AnswerFold()
    fold.add(events)
    # What has not ended is folded as if it had, and shown without that end.
    fold.add([SequenceFinished(index, "stop") for index in open_])
    if not isinstance(last, GenerationFinished):
        fold.add([GenerationFinished(Usage(0, 0))])
    output = submission.request.output
    whole = to_whole_answer(
        fold.answer(), request_id=submission.request_id, model=submission.request.model, output=output
    )
    return wire.RetainedGeneration(
        id=whole.id,
        model=whole.model,
        state="failed" if failure else "finished" if last is not None and is_terminal(last) else "running",
        sequences=tuple(_to_kept(item, is_open=item.index in open_) for item in whole.sequences),
        usage=whole.usage if isinstance(last, GenerationFinished) else None,
        timings=whole.timings,
        prompts=whole.prompts,
        embeddings=whole.embeddings,
        error=to_detail(failure_of_event(failure)) if failure else None,
    )


def _open_sequences(events: Sequence[Event]) -> set[int]:
    open_: set[int] = set()
    for event in events:
        if isinstance(event, SequenceStarted | SequenceDelta):
            open_.add(event.index)
        elif isinstance(event, SequenceFinished):
            open_.discard(event.index)
    return open_


def _to_kept(sequence: wire.WholeSequence, *, is_open: bool) -> wire.KeptSequence:
    kept = wire.KeptSequence(**structs.asdict(sequence))
    return structs.replace(kept, finish_reason=None) if is_open else kept

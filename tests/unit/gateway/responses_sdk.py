"""What OpenAI's own package says of responses: every event and answer of ours is held to its types."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pydantic
from openai.types.responses import ResponseStreamEvent

from headrace.gateway.dialects.openai.responses.render import ResponseRendering
from headrace.gateway.dialects.openai.responses.wire import ResponseBody
from headrace.schema.events import Event

REQUEST_ID = "gen_0123456789ab0123456789abcdef0123"
RESPONSE_ID = "resp_0123456789ab0123456789abcdef0123"
ASK: dict[str, Any] = {"model": "demo", "input": "a secret prompt"}


def _find_events() -> dict[str, type[pydantic.BaseModel]]:
    members: Sequence[type[pydantic.BaseModel]] = get_args(get_args(ResponseStreamEvent)[0])
    return {name: member for member in members for name in get_args(member.model_fields["type"].annotation)}


SDK_EVENTS = _find_events()


def read_frames(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream, each held to the type that the SDK has for it, and all to the stream's rules."""
    events: list[dict[str, Any]] = []
    for number, frame in enumerate(text.removesuffix("\n\n").split("\n\n")):
        name, _, data = frame.partition("\n")
        event = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        SDK_EVENTS[event["type"]].model_validate(event)
        events.append(event)
    return events


def make_rendering(**fields: Any) -> ResponseRendering:
    body = msgspec.convert(ASK | fields, ResponseBody)
    return ResponseRendering.of(REQUEST_ID, body=body, clock=lambda: 1_700_000_000.5)


def stream(batches: Sequence[Sequence[Event]], **fields: Any) -> list[dict[str, Any]]:
    rendering = make_rendering(stream=True, **fields)
    return read_frames(b"".join(rendering.render_events(batch) for batch in batches).decode())


def fold(events: Sequence[Event], **fields: Any) -> dict[str, Any]:
    """Return the whole answer, as it is sent."""
    made = make_rendering(**fields).make_fold()
    made.add_all(events)
    return msgspec.json.decode(msgspec.json.encode(made.ended))

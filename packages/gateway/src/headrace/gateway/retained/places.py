"""Places in a retained stream, as the ids of frames say them.

`gen_…:7` is a place after seven events; `gen_…:7.2` one after two frames of the next, where a dialect writes several.
"""

import re

from litestar.datastructures import Headers
from msgspec import Struct

from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.headers import LAST_EVENT_ID_HEADER

_PLACE = re.compile(r"(?P<id>[\x21-\x7e]{1,100}):(?P<events>\d{1,12})(\.(?P<frames>\d{1,6}))?")


class Place(Struct, frozen=True):
    """How far a reader has come.

    Attributes:
        events: events of the stream that it has whole.
        frames: frames of the next event that it has, in a dialect that writes several for one event.
    """

    events: int = 0
    frames: int = 0


START = Place()


def read_place(headers: Headers, request_id: str) -> Place:
    """Return where the client of a generation wants to go on; the start, if it does not say.

    Raises:
        RequestRefusedError: it names a place in another stream, or none at all.
    """
    text = headers.get(LAST_EVENT_ID_HEADER)
    if not text:
        return START
    found = _PLACE.fullmatch(text)
    if found is None or found["id"] != request_id:
        message = f"the header {LAST_EVENT_ID_HEADER} is not the id of a frame of this generation's stream"
        raise RequestRefusedError(message, reason="invalid_value", param=LAST_EVENT_ID_HEADER)
    return Place(int(found["events"]), int(found["frames"] or 0))

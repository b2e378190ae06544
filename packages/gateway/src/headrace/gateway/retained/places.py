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

    @property
    def least_events(self) -> int:
        """How many events a stream must have that has this place."""
        return self.events + bool(self.frames)


START = Place()


class NamedPlace(Struct, frozen=True, kw_only=True):
    """A place with the generation in whose stream it is.

    Attributes:
        text: as the client sent it.
        request_id: the generation.
        place: in its stream.
    """

    text: str
    request_id: str
    place: Place


def read_place(headers: Headers) -> NamedPlace | None:
    """Return where a client wants to go on; None if it does not say.

    Raises:
        RequestRefusedError: it says what is no place in any stream.
    """
    text = headers.get(LAST_EVENT_ID_HEADER)
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        message = f"the header {LAST_EVENT_ID_HEADER} is not the id of a frame of a retained generation's stream"
        raise RequestRefusedError(message, reason="invalid_value", param=LAST_EVENT_ID_HEADER)
    place = Place(int(found["events"]), int(found["frames"] or 0))
    return NamedPlace(text=text, request_id=found["id"], place=place)

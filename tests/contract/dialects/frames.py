"""Reads server-sent events, and refuses what some client would stumble over."""

from tests.contract.dialects.base import Frame

_FIELDS = ("event", "id", "data")


def read_sse(text: str) -> list[Frame]:
    """Return the frames of a stream.

    Each is a few lines of known fields with one `data` in one line, and ends with an empty line. No other line break of
    Unicode is in it: many readers of lines would cut there.
    """
    if not text:
        return []
    assert text.endswith("\n\n")
    return [_read_frame(block) for block in text.removesuffix("\n\n").split("\n\n")]


def _read_frame(block: str) -> Frame:
    lines = block.split("\n")
    assert lines == block.splitlines(), "a line break inside a frame"
    fields: dict[str, str] = {}
    for line in lines:
        name, separator, value = line.partition(": ")
        assert separator, f"no field: {line[:20]!r}"
        assert name in _FIELDS
        assert name not in fields
        fields[name] = value
    return Frame(fields.get("event"), fields.get("id"), fields["data"])

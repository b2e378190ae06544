"""Text inside a frame, as every dialect writes it."""

import msgspec

_encoder = msgspec.json.Encoder()
_LINE_BREAKS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def encode_text(text: str) -> bytes:
    """Return text as a JSON string on one line.

    JSON allows three line breaks of Unicode inside a string, but the line readers of several HTTP clients end a line
    there, and would cut a frame in two: they are escaped.
    """
    encoded = _encoder.encode(text)
    if not text.isascii():
        for raw, escaped in _LINE_BREAKS:
            encoded = encoded.replace(raw, escaped)
    return encoded


def encode_value(value: object) -> bytes:
    """Return a Struct as JSON on one line; see `encode_text`."""
    encoded = _encoder.encode(value)
    for raw, escaped in _LINE_BREAKS:
        encoded = encoded.replace(raw, escaped)
    return encoded

"""Server-sent events: what an event is, whatever the cuts, and no more memory than one event."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.providers.sse import OversizeEventError, SseParser


def read(pieces: list[bytes], *, limit: int = 1 << 20) -> list[bytes]:
    parser = SseParser(max_event_bytes=limit)
    events: list[bytes] = []
    for piece in pieces:
        events += parser.feed(piece)
    return events + parser.end()


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"data\ndata: a\n\n", [b"\na"]),
        (b": comment\n\nevent: x\nid: 1\nretry: 3\ndata: a\n\n", [b"a"]),
        (b"event: ping\n\n\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"data: a\r", [b"a"]),
        (b"database: a\n\n", []),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_what_an_event_is(body: bytes, events: list[bytes]) -> None:
    assert read([body]) == events
    assert read([body[i : i + 1] for i in range(len(body))]) == events


_line = st.sampled_from(
    [
        b"data: x",
        b"data:",
        b"data",
        b'data: {"a": "\xc3\xa9"}',
        b": ping",
        b"event: e",
        b"",
        b"",
        b"id: 7",
        b"\xef\xbb\xbf",
    ]
)
_end = st.sampled_from([b"\n", b"\r", b"\r\n"])
_body = st.lists(st.tuples(_line, _end).map(b"".join), max_size=12).map(b"".join)


@given(body=_body | st.binary(max_size=60), cuts=st.sets(st.integers(0, 200)))
def test_any_cuts_give_the_same_events(body: bytes, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[a:b] for a, b in pairwise(places)]
    assert read(pieces) == read([body])


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"x" * 95 + b"\n", b"data\n" * 20])
def test_an_event_is_bounded(piece: bytes) -> None:
    parser = SseParser(max_event_bytes=1000)
    parser.feed(b"data: ")

    def feed_for_long() -> None:
        for _ in range(200):
            parser.feed(piece)

    with pytest.raises(OversizeEventError):
        feed_for_long()


def test_many_small_events_are_not_one_large_one() -> None:
    parser = SseParser(max_event_bytes=100)
    for _ in range(1000):
        assert parser.feed(b": a comment\ndata: 0123456789\n\n") == [b"0123456789"]

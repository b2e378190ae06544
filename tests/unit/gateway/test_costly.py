"""Bodies that take long to read are read aside; all others are not."""

import threading

import pytest

from headrace.gateway.costly import INLINE_BYTES, read_body_aside
from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.strict import MAX_NESTING, decode_object


def thread_of(_body: bytes) -> int:
    return threading.get_ident()


async def test_a_usual_body_is_read_where_it_is() -> None:
    assert await read_body_aside(b'{"pattern": 1}', thread_of) == threading.get_ident()


@pytest.mark.parametrize("body", [b" " * (INLINE_BYTES + 1), b'{"pattern":1}' * 5, b'{"patternProperties":1}' * 5])
async def test_a_costly_body_is_read_in_a_thread(body: bytes) -> None:
    assert await read_body_aside(body, thread_of) != threading.get_ident()


async def test_what_is_wrong_with_a_costly_body_is_told() -> None:
    with pytest.raises(RequestRefusedError, match="not valid JSON"):
        await read_body_aside(b" " * (INLINE_BYTES + 1), decode_object)


@pytest.mark.parametrize(("depth", "is_taken"), [(MAX_NESTING - 1, True), (MAX_NESTING, False), (100_000, False)])
def test_a_body_may_be_nested_so_far(depth: int, *, is_taken: bool) -> None:
    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    if is_taken:
        assert decode_object(body)
        return
    with pytest.raises(RequestRefusedError, match="nested"):
        decode_object(body)


def test_brackets_inside_of_texts_do_not_count() -> None:
    text = "[{" * 200 + '\\"' + "[" * 200
    assert decode_object(b'{"a":"' + text.encode() + b'"}')

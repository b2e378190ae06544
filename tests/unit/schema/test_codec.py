"""Round trips, evolution and refusals of the codecs."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from headrace.schema.codec import (
    CodecError,
    decode_control,
    decode_replies,
    decode_task,
    encode_replies,
    encode_task,
)
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    StreamChunk,
    Usage,
)
from headrace.schema.task import GenerationTask
from tests.support.values import make_task

_small = st.integers(0, 2**31)
_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(GenerationStarted, st.text(), _small),
    st.builds(SequenceStarted, _small),
    st.builds(SequenceDelta, _small, st.text(), st.none() | st.lists(_small).map(tuple)),
    st.builds(SequenceFinished, _small, st.sampled_from(["stop", "length"]), st.none() | st.text()),
    st.builds(GenerationFinished, st.builds(Usage, _small, _small)),
    st.builds(GenerationFailed, st.text(), st.text(), st.just("queue"), st.booleans()),
)


@given(st.lists(st.builds(StreamChunk, st.text(), _small, _small, st.lists(_events).map(tuple))))
def test_replies_survive_the_way(chunks: list[StreamChunk]) -> None:
    assert decode_replies(encode_replies(chunks)) == chunks


@given(st.binary())
def test_foreign_bytes_are_refused_with_one_kind_of_error(data: bytes) -> None:
    for decode in (decode_task, decode_replies, decode_control):
        with contextlib.suppress(CodecError):
            assert decode(data) is not None


class _NewerDelta(Struct, frozen=True, array_like=True, tag=4):
    index: int
    text: str
    token_ids: tuple[int, ...] | None = None
    reasoning: str | None = None


class _OlderDelta(Struct, frozen=True, array_like=True, tag=4):
    index: int
    text: str


def test_an_old_decoder_reads_an_event_with_a_new_field() -> None:
    newer = msgspec.msgpack.encode([1, "r", 1, 0, [_NewerDelta(0, "hi", None, "because")]])
    assert decode_replies(b"\x91" + newer) == [StreamChunk("r", 1, 0, (SequenceDelta(0, "hi"),))]


def test_a_new_decoder_reads_an_event_without_the_new_field() -> None:
    older = msgspec.msgpack.encode([1, "r", 1, 0, [_OlderDelta(0, "hi")]])
    assert decode_replies(b"\x91" + older) == [StreamChunk("r", 1, 0, (SequenceDelta(0, "hi"),))]


def test_an_old_decoder_reads_a_task_with_a_new_field() -> None:
    task = make_task()
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(task))
    fields["request"]["tools"] = [{"name": "new"}]
    fields["trace"] = "00-…"
    assert decode_task(msgspec.msgpack.encode(fields)) == task


def test_a_new_decoder_reads_a_task_without_optional_fields() -> None:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(make_task(priority=5)))
    assert "priority" not in fields
    assert decode_task(msgspec.msgpack.encode(fields)).priority == 5


@pytest.mark.parametrize("field", ["request_id", "reply_address", "deadline", "request"])
def test_a_task_without_a_required_field_is_refused(field: str) -> None:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(make_task()))
    del fields[field]
    with pytest.raises(CodecError, match=field):
        decode_task(msgspec.msgpack.encode(fields))


def test_a_refusal_never_holds_the_content() -> None:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(make_task()))
    fields["request"]["messages"] = "my secret prompt"
    with pytest.raises(CodecError) as caught:
        decode_task(msgspec.msgpack.encode(fields))
    assert "secret" not in str(caught.value)
    assert isinstance(make_task(), GenerationTask)

"""Round trips, evolution and refusals of the codecs."""

import contextlib
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from headrace.schema import events, messages, request, task
from headrace.schema.codec import (
    CodecError,
    decode_control,
    decode_replies,
    decode_task,
    encode_control,
    encode_replies,
    encode_task,
)
from headrace.schema.control import ControlMessage
from headrace.schema.errors import ErrorCode, answer_for
from headrace.schema.events import Event, ReplyItem, SequenceDelta, StreamChunk
from headrace.schema.task import GenerationTask
from tests.golden import structs_v1
from tests.support.strategies import values_of
from tests.support.values import make_task

_NEW_MODULES = (events, messages, request, task)
_old_tasks = msgspec.msgpack.Decoder(structs_v1.GenerationTask)
_old_replies = msgspec.msgpack.Decoder(list[structs_v1.ReplyItem])


@given(st.lists(values_of(ReplyItem), max_size=3))
def test_replies_survive_the_way(items: list[ReplyItem]) -> None:
    assert decode_replies(encode_replies(items)) == items


@given(values_of(GenerationTask))
def test_a_task_survives_the_way(value: GenerationTask) -> None:
    assert decode_task(encode_task(value)) == value


@given(values_of(ControlMessage))
def test_a_control_message_survives_the_way(message: ControlMessage) -> None:
    assert decode_control(encode_control(message)) == message


@given(st.binary())
def test_foreign_bytes_are_refused_with_one_kind_of_error(data: bytes) -> None:
    for decode in (decode_task, decode_replies, decode_control):
        with contextlib.suppress(CodecError):
            assert decode(data) is not None


def _same_in_the_other(value: Any, find: Any) -> Any:
    """Return a value in the Structs of another version: the fields that both have."""
    if isinstance(value, Struct):
        other = find(type(value).__name__)
        return other(**{name: _same_in_the_other(getattr(value, name), find) for name in _shared(type(value), other)})
    if isinstance(value, tuple | list):
        items = cast("list[Any] | tuple[Any, ...]", value)
        return type(items)(_same_in_the_other(item, find) for item in items)
    return value


def _shared(one: type[Struct], other: type[Struct]) -> list[str]:
    return [name for name in one.__struct_fields__ if name in other.__struct_fields__]


def _find_old(name: str) -> type[Struct]:
    return getattr(structs_v1, name)


def _find_new(name: str) -> type[Struct]:
    return next(getattr(module, name) for module in _NEW_MODULES if hasattr(module, name))


_known_to_v1 = st.one_of([values_of(getattr(events, kind.__name__)) for kind in structs_v1.Event.__args__])
_replies_known_to_v1 = st.builds(
    StreamChunk, st.text(), st.integers(0, 9), st.integers(0, 9), st.lists(_known_to_v1, max_size=4).map(tuple)
)
_v1_messages = st.lists(values_of(structs_v1.Message), min_size=1, max_size=3).map(
    lambda items: tuple(_same_in_the_other(item, _find_new) for item in items)
)


@given(st.lists(_replies_known_to_v1, max_size=3))
def test_a_gateway_of_version_1_reads_the_events_of_today(items: list[StreamChunk]) -> None:
    assert _old_replies.decode(encode_replies(items)) == _same_in_the_other(items, _find_old)


@given(values_of(GenerationTask, {(request.ChatCompletionRequest, "messages"): _v1_messages}))
def test_a_worker_of_version_1_reads_a_task_of_today_that_asks_in_its_words(value: GenerationTask) -> None:
    assert _old_tasks.decode(encode_task(value)) == _same_in_the_other(value, _find_old)


@given(st.lists(values_of(structs_v1.ReplyItem), max_size=3))
def test_the_gateway_of_today_reads_the_events_of_version_1(items: list[Struct]) -> None:
    assert decode_replies(msgspec.msgpack.encode(items)) == _same_in_the_other(items, _find_new)


@given(values_of(structs_v1.GenerationTask))
def test_the_worker_of_today_reads_the_tasks_of_version_1(value: structs_v1.GenerationTask) -> None:
    assert decode_task(msgspec.msgpack.encode(value)) == _same_in_the_other(value, _find_new)


class _NewerDelta(Struct, frozen=True, array_like=True, tag=4):
    index: int
    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[()] | None = None
    reasoning: str = ""
    tool_calls: tuple[()] = ()
    thought_signature: None = None
    text_signature: None = None
    smell: str = "roses"


def test_an_event_with_a_field_of_tomorrow_is_read_without_it() -> None:
    newer = msgspec.msgpack.encode([1, "r", 1, 0, [_NewerDelta(0, "hi")], False, "also new"])
    assert decode_replies(b"\x91" + newer) == [StreamChunk("r", 1, 0, (SequenceDelta(0, "hi"),))]


class _UnsignedDelta(Struct, frozen=True, array_like=True, tag=4):
    """A delta as a gateway reads it that knows of no signatures."""

    index: int
    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[()] | None = None
    reasoning: str = ""
    tool_calls: tuple["_UnsignedCall", ...] = ()


class _UnsignedCall(Struct, frozen=True, array_like=True):
    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


@given(values_of(SequenceDelta))
def test_a_reader_that_knows_of_no_signatures_reads_the_rest(delta: SequenceDelta) -> None:
    delta = msgspec.structs.replace(delta, logprobs=None)
    calls = tuple(_UnsignedCall(call.index, call.arguments, call.id, call.name) for call in delta.tool_calls)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(delta), type=_UnsignedDelta)
    assert read == _UnsignedDelta(delta.index, delta.text, delta.token_ids, None, delta.reasoning, calls)
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(read), type=SequenceDelta)
    unsigned = tuple(msgspec.structs.replace(call, signature=None) for call in delta.tool_calls)
    assert back == msgspec.structs.replace(delta, tool_calls=unsigned, thought_signature=None, text_signature=None)


def test_a_task_with_fields_of_tomorrow_is_read_without_them() -> None:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(value := make_task()))
    fields["trace"] = "00-…"
    fields["request"]["output"] = {"smell": True}
    assert decode_task(msgspec.msgpack.encode(fields)) == value


@pytest.mark.parametrize("event", [[99, 0], [5, 0, "out of ideas"], [7, "c", "m", "limbo", False]])
def test_a_tag_or_a_word_of_tomorrow_makes_a_batch_unreadable(event: list[Any]) -> None:
    with pytest.raises(CodecError, match="not a batch of replies"):
        decode_replies(msgspec.msgpack.encode([[1, "r", 1, 0, [event]]]))


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "prophet", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "video", "url": "x"}]}]},
        {"response_format": {"type": "poem"}},
        {"tool_choice": {"mode": "perhaps"}},
    ],
)
def test_a_word_of_tomorrow_makes_a_task_unreadable(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(make_task()))
    fields["request"] |= changes
    with pytest.raises(CodecError, match="not a generation task"):
        decode_task(msgspec.msgpack.encode(fields))


def test_an_error_code_of_tomorrow_is_only_text_and_counts_as_an_internal_error() -> None:
    failed = [7, "out_of_coffee", "m", "queue", False]
    (chunk,) = decode_replies(msgspec.msgpack.encode([[1, "r", 1, 0, [failed]]]))
    assert isinstance(chunk, StreamChunk)
    event: Event = chunk.events[0]
    assert isinstance(event, events.GenerationFailed)
    assert answer_for(event.code) == answer_for(ErrorCode.INTERNAL_ERROR)


def test_a_task_without_optional_fields_has_their_defaults() -> None:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode_task(make_task(priority=5)))
    assert set(fields) == {"request_id", "reply_address", "submitted_at", "deadline", "request"}
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


def test_an_integer_that_no_one_can_send_is_refused_by_its_kind() -> None:
    value = make_task()
    parameters = request.GenerationParameters(provider_extensions={"x": 2**70})
    huge = msgspec.structs.replace(
        value, request=msgspec.structs.replace(value.request, generation_parameters=parameters)
    )
    with pytest.raises(CodecError, match="64 bits"):
        encode_task(huge)

"""The bytes on the wire are what they were, and those of every earlier version are still understood."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

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
from headrace.schema.events import ReplyItem, SequenceDelta
from headrace.schema.last_word import LastWord, decode_last_word, encode_last_word
from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart
from headrace.schema.task import GenerationTask
from tests.golden import values, values_v2
from tests.support.strategies import structs_in

GOLDEN = Path(__file__).parents[2] / "golden"


def _golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def test_a_task_of_version_1_is_what_it_was_with_the_defaults_of_today() -> None:
    assert decode_task(_golden("v1/task")) == values.TASK


def test_replies_of_version_1_are_what_they_were_with_the_defaults_of_today() -> None:
    assert decode_replies(_golden("v1/replies")) == values.REPLIES


@pytest.mark.parametrize("index", range(len(values.CONTROLS)))
def test_a_control_message_of_version_1_is_what_it_was_with_the_defaults_of_today(index: int) -> None:
    assert decode_control(_golden(f"v1/control-{index}")) == values.CONTROLS[index]


@pytest.mark.parametrize("index", range(len(values_v2.CONTROLS)))
def test_a_control_message(index: int) -> None:
    golden = _golden(f"v2/control-{index}")
    assert encode_control(values_v2.CONTROLS[index]) == golden
    assert decode_control(golden) == values_v2.CONTROLS[index]


@pytest.mark.parametrize("name", values_v2.TASKS)
def test_a_task(name: str) -> None:
    golden = _golden(f"v2/task-{name}")
    assert encode_task(values_v2.TASKS[name]) == golden
    assert decode_task(golden) == values_v2.TASKS[name]


def test_a_batch_of_replies() -> None:
    assert encode_replies(values_v2.REPLIES) == _golden("v2/replies")
    assert decode_replies(_golden("v2/replies")) == values_v2.REPLIES


def test_a_last_word() -> None:
    assert encode_last_word(values_v2.LAST_WORD) == _golden("v2/last-word")
    assert decode_last_word(_golden("v2/last-word")) == values_v2.LAST_WORD
    with pytest.raises(CodecError):
        decode_last_word(b"no word")


def _unsigned(value: Any) -> Any:
    """Return a value without what version 2 did not have before vendors' signatures were told."""
    if isinstance(value, ReasoningPart | TextPart | ToolCallPart):
        signature = value.signature if isinstance(value, ReasoningPart) else None
        return msgspec.structs.replace(value, signature=signature, signed_by=None)
    if isinstance(value, SequenceDelta):
        calls = tuple(msgspec.structs.replace(call, signature=None) for call in value.tool_calls)
        return msgspec.structs.replace(value, tool_calls=calls, thought_signature=None, text_signature=None)
    if isinstance(value, Struct):
        return type(value)(**{name: _unsigned(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, tuple | list):
        items = [_unsigned(item) for item in cast("tuple[Any, ...]", value) if not _is_redacted(item)]
        return type(cast("tuple[Any, ...]", value))(items)
    return value


def _is_redacted(value: object) -> bool:
    return isinstance(value, ReasoningPart) and value.is_redacted


def test_bytes_from_before_signatures_are_still_understood() -> None:
    assert decode_replies(_golden("unsigned-v2/replies")) == _unsigned(values_v2.REPLIES)
    task = _unsigned(values_v2.TASKS["chat"])
    request = task.request
    output = msgspec.structs.replace(request.output, signatures=False)
    expected = msgspec.structs.replace(task, request=msgspec.structs.replace(request, output=output))
    assert decode_task(_golden("unsigned-v2/task-chat")) == expected


def _fields_that_are_set(value: object) -> Iterator[tuple[type[Struct], str]]:
    """Yield each field, here and below, that has another value than its default."""
    if isinstance(value, Struct):
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            default = field.default if field.default_factory is NODEFAULT else field.default_factory()
            if default is NODEFAULT or item != default:
                yield type(value), field.name
            yield from _fields_that_are_set(item)
    elif isinstance(value, tuple | list):
        for item in cast("tuple[object, ...]", value):
            yield from _fields_that_are_set(item)


def test_the_newest_version_sets_every_field_there_is() -> None:
    there_are = {
        (struct, field.name)
        for kind in (GenerationTask, ReplyItem, ControlMessage, LastWord)
        for struct in structs_in(kind)
        for field in msgspec.structs.fields(struct)
    }
    values_of_all = [*values_v2.TASKS.values(), *values_v2.REPLIES, *values_v2.CONTROLS, values_v2.LAST_WORD]
    assert there_are - set(_fields_that_are_set(values_of_all)) == set()

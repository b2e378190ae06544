"""Bytes for everything that travels between processes: msgpack, through msgspec's typed decoders."""

from collections.abc import Sequence

import msgspec

from headrace.schema.control import ControlMessage
from headrace.schema.events import Event, ReplyItem
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.task import GenerationTask


class CodecError(ValueError):
    """Bytes that are not what they should be. The message names the place and never holds the content."""


_encoder = msgspec.msgpack.Encoder()
_task_decoder = msgspec.msgpack.Decoder(GenerationTask)
_request_decoder = msgspec.msgpack.Decoder(ChatCompletionRequest)
_replies_decoder = msgspec.msgpack.Decoder(list[ReplyItem])
_events_decoder = msgspec.msgpack.Decoder(list[Event])
_control_decoder = msgspec.msgpack.Decoder(ControlMessage)


def encode_task(task: GenerationTask) -> bytes:
    """Encode a task for the queue.

    Raises:
        CodecError: a provider extension holds an integer of more than 64 bits.
    """
    try:
        return _encoder.encode(task)
    except OverflowError:
        raise CodecError("an integer of more than 64 bits can't be sent") from None


def decode_task(data: bytes) -> GenerationTask:
    """Decode a task.

    Raises:
        CodecError: the bytes are no task.
    """
    try:
        return _task_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a generation task: {error}") from None


def encode_request(request: ChatCompletionRequest) -> bytes:
    """Encode a request for the object store.

    Raises:
        CodecError: a provider extension holds an integer of more than 64 bits.
    """
    try:
        return _encoder.encode(request)
    except OverflowError:
        raise CodecError("an integer of more than 64 bits can't be sent") from None


def decode_request(data: bytes) -> ChatCompletionRequest:
    """Decode a request.

    Raises:
        CodecError: the bytes are no request.
    """
    try:
        return _request_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a request: {error}") from None


def encode_replies(items: Sequence[ReplyItem]) -> bytes:
    """Encode a batch for a reply queue: one msgpack array, whatever the number of streams in it."""
    return _encoder.encode(items)


def decode_replies(data: bytes) -> list[ReplyItem]:
    """Decode a batch off a reply queue.

    Raises:
        CodecError: the bytes are no batch of replies.
    """
    try:
        return _replies_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a batch of replies: {error}") from None


def encode_events(events: Sequence[Event]) -> bytes:
    """Encode events as they are retained: one msgpack array."""
    return _encoder.encode(events)


def decode_events(data: bytes) -> list[Event]:
    """Decode events that were retained.

    Raises:
        CodecError: the bytes are no events.
    """
    try:
        return _events_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a list of events: {error}") from None


def encode_control(message: ControlMessage) -> bytes:
    """Encode a control message."""
    return _encoder.encode(message)


def decode_control(data: bytes) -> ControlMessage:
    """Decode a control message.

    Raises:
        CodecError: the bytes are no control message.
    """
    try:
        return _control_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a control message: {error}") from None

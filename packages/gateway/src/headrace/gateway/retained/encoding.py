"""What of a submission is kept beside its events, and by what it is recognised."""

import asyncio
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
from msgspec import NODEFAULT, Struct, structs

from headrace.scheduler.base import GenerationRecord, Submission
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.transport.retention import IdempotencyClaim

# A larger request is made canonical in a thread.
ASIDE_BYTES = 64 * 1024

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_submissions = msgspec.msgpack.Decoder(Submission)
_records = msgspec.msgpack.Decoder(GenerationRecord)


class UnreadableError(ValueError):
    """What was kept can't be read here, because a newer process wrote it."""


def encode_submission(submission: Submission) -> bytes:
    """Return a submission as it is kept.

    Raises:
        HeadraceError: `invalid_request`: it can't be encoded.
    """
    return _encode(submission)


def decode_submission(data: bytes) -> Submission:
    """Return a submission that was kept.

    Raises:
        UnreadableError: the bytes are none.
    """
    try:
        return _submissions.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"not a submission: {error}") from None


def encode_record(record: GenerationRecord) -> bytes:
    """Return what is known of a generation as it is kept."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> GenerationRecord:
    """Return what was known of a generation.

    Raises:
        UnreadableError: the bytes say nothing.
    """
    try:
        return _records.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"not a record: {error}") from None


def make_claim(key: str, submission: Submission) -> IdempotencyClaim:
    """Return what a client's key says: whose it is, and for which request.

    The request is taken as it was understood: its dialect, its spaces, the order of its fields, whether it is streamed
    and what of the answer is shown make no other request of it.

    Raises:
        HeadraceError: `invalid_request`: the request can't be encoded.
    """
    name = hashlib.sha256(f"{submission.caller.tenant_id}\0{key}".encode()).hexdigest()
    request = submission.request
    # What these show is kept in any case.
    output = structs.replace(
        request.output, token_ids=False, reasoning=False, usage=False, timings=False, signatures=False
    )
    # A call that must not leave for an outside provider is never answered by what was made for one that may.
    local_only = submission.local_only or submission.caller.local_only
    said = _encode(_to_plain(structs.replace(request, output=output))) + (b"local_only" if local_only else b"")
    return IdempotencyClaim(key=name, sha256=hashlib.sha256(said).hexdigest())


async def claim_of(key: str, submission: Submission) -> IdempotencyClaim:
    """Return what `make_claim` does, made in a thread where that takes long: the streams of others go on.

    Raises:
        HeadraceError: `invalid_request`: the request can't be encoded.
    """
    if len(encode_submission(submission)) > ASIDE_BYTES:
        return await asyncio.to_thread(make_claim, key, submission)
    return make_claim(key, submission)


def _to_plain(value: object) -> object:
    """Return a value without the fields that say their default, whether they were left out or set to it.

    So a field that a newer gateway knows changes nothing for who does not use it: a call that is repeated during an
    update is the same call.
    """
    if isinstance(value, Struct):
        said = {name: getattr(value, name) for name in value.__struct_fields__}
        defaults = _defaults_of(type(value))
        fields = {name: _to_plain(item) for name, item in said.items() if defaults.get(name, NODEFAULT) != item}
        return {"": type(value).__name__, **fields}
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in cast("dict[object, object]", value).items()}
    return value


@functools.cache
def _defaults_of(struct: type[Struct]) -> Mapping[str, object]:
    """Return what the fields of a struct are where nothing is said, of those that may be left out."""
    return {
        item.name: item.default if item.default_factory is NODEFAULT else item.default_factory()
        for item in structs.fields(struct)
        if not item.required
    }


def _encode(value: object) -> bytes:
    try:
        return _encoder.encode(value)
    except OverflowError:
        message = "an integer of more than 64 bits can't be sent"
        param = "generation_parameters.provider_extensions"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=param) from None

"""What a worker leaves of a generation whose scheduler is gone, for whoever settles it.

Evolution: fields are only appended, and a new field has a default.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from headrace.schema.codec import CodecError
from headrace.schema.events import Usage

_encoder = msgspec.msgpack.Encoder()


class LastWord(Struct, frozen=True, array_like=True):
    """What a generation had used when its worker ended it, because nobody read it any more.

    Attributes:
        request_id: the request, by the id that the worker knows it by.
        attempt: which try at it.
        worker_id: who ran it.
        usage: what the whole answer has used, with what earlier attempts had told of it.
        ended_at: when it was ended, Unix seconds.
        model: what ran it: the deployment, which may have another name than what was asked for.
    """

    request_id: str
    attempt: int
    worker_id: str
    usage: Usage
    ended_at: float
    model: str = ""


_decoder = msgspec.msgpack.Decoder(LastWord)


def encode_last_word(word: LastWord) -> bytes:
    """Encode a last word."""
    return _encoder.encode(word)


def decode_last_word(data: bytes) -> LastWord:
    """Decode a last word.

    Raises:
        CodecError: the bytes are none.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"not a last word: {error}") from None


def most_used(usages: Iterable[Usage]) -> Usage:
    """Return the most of each kind of token that any of these says.

    All of them count one answer from its start, so of each kind the largest number is the last.
    """
    known = [(each.input_tokens, each.output_tokens, each.cached_tokens, each.reasoning_tokens) for each in usages]
    return Usage(*(max(kind) for kind in zip(*known, strict=True))) if known else Usage(0, 0)

"""A large value that travels by reference."""

from typing import Annotated

from msgspec import Meta, Struct


class PayloadRef(Struct, frozen=True, kw_only=True):
    """Where a value lies in the object store, and how to know that it is the one that was put there.

    Attributes:
        key: its name in the store.
        size_bytes: its length.
        sha256: its digest, 64 hex digits.
    """

    key: Annotated[str, Meta(min_length=1, max_length=512)]
    size_bytes: Annotated[int, Meta(ge=0)]
    sha256: str

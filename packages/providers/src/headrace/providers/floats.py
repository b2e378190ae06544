"""Embeddings as the schema has them: little-endian 32-bit floats."""

import struct
from collections.abc import Sequence


def pack_floats(numbers: Sequence[float]) -> bytes:
    """Return numbers as little-endian 32-bit floats.

    Raises:
        OverflowError: a number is too large for one.
    """
    return struct.pack(f"<{len(numbers)}f", *numbers)

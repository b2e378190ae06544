"""Writes the safetensors format, so that making a model needs neither torch nor the safetensors package.

The format: the header's length as eight little-endian bytes, the header as JSON (padded with spaces, so that the data
starts on a multiple of 8), then each tensor's bytes in a row. The header says where each tensor lies, so shapes are
given before any data: the data itself is then streamed, and a model never has to fit in memory twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

_ALIGNMENT_BYTES = 8
_BYTES_PER_VALUE = 2


class TensorSpec(msgspec.Struct, frozen=True):
    """One bfloat16 tensor to come."""

    name: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that its data takes in the file."""
        return math.prod(self.shape) * _BYTES_PER_VALUE


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def encode_header(specs: Sequence[TensorSpec]) -> bytes:
    """Return everything that comes before the data, for tensors that lie in the order given."""
    header: dict[str, dict[str, str] | _Entry] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for spec in specs:
        end = offset + spec.size_bytes
        header[spec.name] = _Entry("BF16", spec.shape, (offset, end))
        offset = end
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % _ALIGNMENT_BYTES)
    return len(encoded).to_bytes(8, "little") + encoded


def write_safetensors(path: Path, specs: Sequence[TensorSpec], *, pieces: Iterable[NDArray[np.uint16]]) -> None:
    """Write one file.

    Args:
        path: The file; it is overwritten.
        specs: The tensors, in the order in which their data comes.
        pieces: bfloat16 bits, in row-major order: a tensor may come in several pieces.

    Raises:
        ValueError: The pieces do not add up to the tensors; the file is then not usable.
    """
    written = 0
    with path.open("wb") as file:
        file.write(encode_header(specs))
        for piece in pieces:
            written += file.write(np.ascontiguousarray(piece, dtype="<u2").data)
    promised = sum(spec.size_bytes for spec in specs)
    if written != promised:
        message = f"the header promises {promised} bytes of data, {written} came"
        raise ValueError(message)

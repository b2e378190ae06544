"""Reads a safetensors file with numpy alone, as a second opinion on our writer."""

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(path: Path) -> dict[str, Entry]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    raw = msgspec.json.decode(data[8 : 8 + length], type=dict[str, msgspec.Raw])
    return {name: msgspec.json.decode(entry, type=Entry) for name, entry in raw.items() if name != "__metadata__"}


def read_tensors(path: Path) -> dict[str, NDArray[np.uint16]]:
    data = path.read_bytes()
    base = 8 + int.from_bytes(data[:8], "little")
    assert base % 8 == 0
    tensors: dict[str, NDArray[np.uint16]] = {}
    for name, entry in read_header(path).items():
        start, end = entry.data_offsets
        assert entry.dtype == "BF16"
        tensors[name] = np.frombuffer(data[base + start : base + end], "<u2").reshape(entry.shape)
    return tensors

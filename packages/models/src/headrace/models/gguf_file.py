"""A GGUF file as typed fields and float tensors.

A converter that guesses makes a model that talks nonsense: a field that is missing, or of another type, is an error
with the field's name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar, cast

import gguf
import numpy as np
from numpy.typing import NDArray

from headrace.models.errors import WeightsError
from headrace.models.gguf_header import GgufTensorInfo, parse_gguf_header

_Value = TypeVar("_Value", int, float, str)
_ROWS_AT_ONCE = 4096


class GgufTensor:
    """One tensor; its values are made when they are asked for."""

    def __init__(self, info: GgufTensorInfo, data: NDArray[np.uint8]) -> None:
        self.name = info.name
        self.shape = info.shape
        self._kind = gguf.GGMLQuantizationType(info.kind)
        block_values, block_bytes = gguf.GGML_QUANT_SIZES[self._kind]
        size_bytes = math.prod(info.shape) // block_values * block_bytes
        stored = data[info.offset_bytes : info.offset_bytes + size_bytes]
        rows = info.shape[0] if len(info.shape) > 1 else 1
        self._rows = stored.reshape(rows, size_bytes // rows)

    def iter_values(self) -> Iterator[NDArray[np.float32]]:
        """Yield the dequantised values in pieces of whole rows, so that memory stays small beside a large tensor."""
        for start in range(0, len(self._rows), _ROWS_AT_ONCE):
            values = gguf.dequantize(self._as_stored(start), self._kind)
            yield cast("NDArray[np.float32]", values)

    def _as_stored(self, start: int) -> NDArray[np.generic]:
        rows = self._rows[start : start + _ROWS_AT_ONCE]
        match self._kind:
            case gguf.GGMLQuantizationType.F32:
                return rows.view(np.float32)
            case gguf.GGMLQuantizationType.F16:
                return rows.view(np.float16)
            case _:
                return rows


class GgufFile:
    """An open GGUF file: its fields by name, and its tensors.

    Raises:
        WeightsError: The path holds no GGUF file, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            header = parse_gguf_header(data.data)
            self.tensors = [GgufTensor(info, data) for info in header.tensors]
        except (OSError, ValueError) as error:
            message = f"{path} is not a GGUF file that can be read ({error}); fetch it again"
            raise WeightsError(message) from error
        self._fields = header.fields

    def read_field(self, name: str, expected: type[_Value]) -> _Value:
        """Return a field of one value.

        Raises:
            WeightsError: The file has no such field, or one of another type.
        """
        value = self._fields.get(name)
        if not isinstance(value, expected):
            raise self._refuse(name, expected.__name__)
        return value

    def read_list(self, name: str, expected: type[_Value]) -> list[_Value]:
        """Return a field that holds a list.

        Raises:
            WeightsError: The file has no such list, or one of another type.
        """
        values = self._fields.get(name)
        if not isinstance(values, list):
            raise self._refuse(name, "list")
        checked = [value for value in cast("list[object]", values) if isinstance(value, expected)]
        if len(checked) != len(cast("list[object]", values)):
            raise self._refuse(name, f"list of {expected.__name__}")
        return checked

    def _refuse(self, name: str, expected: str) -> WeightsError:
        return WeightsError(f"{self._path} has no GGUF field {name} of type {expected}; this file can't be converted")

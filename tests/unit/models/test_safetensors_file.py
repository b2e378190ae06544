"""The safetensors writer, read back with numpy."""

from pathlib import Path

import numpy as np
import pytest

from headrace.models.safetensors_file import TensorSpec, write_safetensors
from tests.unit.models.safetensors_reading import read_header, read_tensors

SPECS = [TensorSpec("a.weight", (2, 3)), TensorSpec("b", (5,))]
FIRST = np.arange(6, dtype=np.uint16).reshape(2, 3)
SECOND = np.arange(100, 105, dtype=np.uint16)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m", SPECS, pieces=[FIRST, SECOND])

    tensors = read_tensors(tmp_path / "m")

    assert list(tensors) == ["a.weight", "b"]
    assert np.array_equal(tensors["a.weight"], FIRST)
    assert np.array_equal(tensors["b"], SECOND)


def test_a_tensor_may_come_in_pieces_of_any_layout(tmp_path: Path) -> None:
    as_columns = np.asfortranarray(FIRST)

    write_safetensors(tmp_path / "m", SPECS, pieces=[as_columns[:1], as_columns[1:], SECOND])

    assert np.array_equal(read_tensors(tmp_path / "m")["a.weight"], FIRST)


def test_the_data_lies_without_gaps_up_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m"
    write_safetensors(path, SPECS, pieces=[FIRST, SECOND])

    offsets = [entry.data_offsets for entry in read_header(path).values()]

    assert offsets == [(0, 12), (12, 22)]
    assert path.stat().st_size == 8 + int.from_bytes(path.read_bytes()[:8], "little") + 22


def test_pieces_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="promises 22 bytes of data, 12 came"):
        write_safetensors(tmp_path / "m", SPECS, pieces=[FIRST])

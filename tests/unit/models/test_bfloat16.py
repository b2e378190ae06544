"""bfloat16 rounding, against its definition: the nearest of the two neighbours, the even one on a tie."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.models.bfloat16 import from_bfloat16_bits, to_bfloat16_bits

LARGEST = 3.3895313892515355e38


@given(st.floats(width=32, allow_nan=False, min_value=-LARGEST, max_value=LARGEST))
def test_a_value_becomes_its_nearest_neighbour_and_ties_go_to_even(value: float) -> None:
    bits = int(np.array([value], np.float32).view(np.uint32)[0])
    below, above = bits >> 16, (bits >> 16) + 1
    distance_below, distance_above = bits & 0xFFFF, 0x10000 - (bits & 0xFFFF)
    if distance_below == distance_above:
        expected = below if below % 2 == 0 else above
    else:
        expected = below if distance_below < distance_above else above

    assert int(to_bfloat16_bits(np.array([value], np.float32))[0]) == expected


@given(st.integers(min_value=0, max_value=0xFFFF))
def test_what_is_bfloat16_already_stays_as_it_is(bits: int) -> None:
    value = from_bfloat16_bits(np.array([bits], np.uint16))

    again = to_bfloat16_bits(value)

    if math.isnan(value[0]):
        assert math.isnan(from_bfloat16_bits(again)[0])
    else:
        assert int(again[0]) == bits


@pytest.mark.parametrize("pattern", [0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0xFF800001])
def test_a_nan_stays_a_nan_whatever_its_payload(pattern: int) -> None:
    value = np.array([pattern], np.uint32).view(np.float32)

    assert math.isnan(from_bfloat16_bits(to_bfloat16_bits(value))[0])


def test_the_shape_is_kept_for_rows_that_are_not_contiguous() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T

    assert np.array_equal(from_bfloat16_bits(to_bfloat16_bits(values)), values)

"""bfloat16 for numpy, which has no such type: the values travel as the uint16 that holds their bits.

Rounding is to the nearest, ties to even, as torch does it: a converted model must equal the one that torch would write.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_QUIET_NAN_BIT = 0x0040


def to_bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 values to bfloat16.

    Returns:
        The bits, in the shape of `values`. Infinities and the sign of zero are kept; a NaN stays one and becomes quiet.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    carried = (bits >> np.uint32(16)) & np.uint32(1)  # a tie goes up only from an odd value
    carried += np.uint32(0x7FFF)
    carried += bits  # a NaN may wrap around here: it is overwritten below
    rounded = (carried >> np.uint32(16)).astype(np.uint16)
    is_nan = np.isnan(values)
    if is_nan.any():
        truncated = (bits >> np.uint32(16)).astype(np.uint16) | np.uint16(_QUIET_NAN_BIT)
        rounded = np.where(is_nan, truncated, rounded)
    return rounded


def from_bfloat16_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Widen bfloat16 bits to float32, which is exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)

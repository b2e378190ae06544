"""Which tokens may come next, as bits: 32 tokens to an integer, as vLLM and xgrammar have them."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

# Where a request carries its mask, in the `extra_args` of its sampling parameters.
MASK_ARGUMENT = "headrace_mask"

_BITS = 32

Mask = NDArray[np.int32]


def mask_of(token_ids: Collection[int], *, vocabulary_size: int) -> Mask:
    """Return a mask that allows these tokens."""
    words = -(-vocabulary_size // _BITS)
    bits = np.zeros(words * _BITS, dtype=np.uint8)
    bits[[token_id for token_id in token_ids if token_id < vocabulary_size]] = 1
    return np.packbits(bits, bitorder="little").view("<i4").astype(np.int32)


def without(mask: Mask, token_ids: Collection[int]) -> Mask:
    """Return the mask without these tokens; or as it is, where nothing would be left."""
    forbidden = mask_of(token_ids, vocabulary_size=mask.size * _BITS)
    rest = mask & ~forbidden
    return rest if rest.any() else mask


def is_allowed(mask: Mask, token_id: int) -> bool:
    """Tell whether a mask allows a token."""
    return bool((int(mask[token_id // _BITS]) >> (token_id % _BITS)) & 1)


def stack_masks(first: Mask | None, rows: Sequence[Mask]) -> Mask:
    """Return the rows below each other, under those that are there already."""
    stacked = np.stack(rows)
    return stacked if first is None else np.concatenate([first, stacked])

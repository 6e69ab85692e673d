"""Doubles as whole numbers in the same order: keys can be sorted, packed and compared to the last bit."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

SIGN = np.uint64(1 << 63)
LARGEST_KEY = np.uint64(2**64 - 1)


def keys_of(values: Doubles) -> Keys:
    """Return uint64 in the order of the doubles; every bit is preserved, and -0.0 comes before 0.0."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    return bits ^ np.where(bits >> np.uint64(63), LARGEST_KEY, SIGN)


def values_of(keys: Keys) -> Doubles:
    """Return the doubles that `keys_of` turned into these keys."""
    keys = np.ascontiguousarray(keys, np.uint64)
    return (keys ^ np.where(keys >> np.uint64(63), SIGN, LARGEST_KEY)).view(np.float64)


def value_of(key: int) -> float:
    bits = key ^ (1 << 63 if key >> 63 else 2**64 - 1)
    value: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return value


def concatenate(parts: Sequence[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
    """Concatenate any number of arrays, none included."""
    return np.concatenate(parts) if parts else np.empty(0, dtype)

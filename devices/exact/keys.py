import struct
from collections.abc import Sequence

import numpy as np

SIGN = np.uint64(1 << 63)
LARGEST_KEY = np.uint64(2**64 - 1)


def keys_of(values: np.ndarray) -> np.ndarray:
    """uint64 in the order of the doubles; -0.0 comes before 0.0, and every bit is kept."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    return bits ^ np.where(bits >> np.uint64(63), LARGEST_KEY, SIGN)


def values_of(keys: np.ndarray) -> np.ndarray:
    """The doubles that these keys stand for."""
    keys = np.ascontiguousarray(keys, np.uint64)
    return (keys ^ np.where(keys >> np.uint64(63), SIGN, LARGEST_KEY)).view(np.float64)


def value_of(key: int) -> float:
    """Of one."""
    bits = key ^ (1 << 63 if key >> 63 else 2**64 - 1)
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def concatenate(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)

"""Doubles of several kinds, as arrays."""

import numpy as np


def any_doubles(random: np.random.Generator, n: int) -> np.ndarray:
    bits = random.integers(0, 2**64, n, dtype=np.uint64)
    # Exponents of 2047 are infinite or no numbers.
    return np.where((bits >> np.uint64(52)) & np.uint64(2047) == 2047, bits >> np.uint64(2), bits).view(
        np.float64
    )


KINDS = {
    "spread": lambda random, n: random.normal(20, 5, n),
    "rounded": lambda random, n: np.round(random.normal(0, 1, n), 1) + 0.0,
    "of few values": lambda random, n: random.integers(0, 3, n).astype(np.float64),
    "of any size": any_doubles,
    "the same": lambda _, n: np.full(n, 3.5),
}

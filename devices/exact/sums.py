"""Exact sums: every finite double is a whole multiple of the smallest one, and whole numbers add up exactly.

A sum is a Python integer in units of the smallest double, 2^-1074. Nothing is rounded before `rounded`: sums
of segments, devices and rows add up to the same number in any order.
"""

import struct

import numpy as np
import numpy.typing as npt

from devices.exact.keys import Doubles

# The smallest double is 1 / UNITS.
UNITS = 2**1074
MANTISSA_BITS = 53
# Mantissas are added in two halves: SUM_CHUNK numbers of LOW_BITS bits add up in a double without rounding.
LOW_BITS = 27
LOW_MASK = 2**LOW_BITS - 1
SUM_CHUNK = 2**25
# In rows of up to this length mantissas shifted by less than LOW_BITS add up in 64 bits.
MAX_SHORT_ROW = 1024
# The range of frexp's exponents: those of subnormal doubles go down to LEAST_EXPONENT.
LEAST_EXPONENT = -1073
EXPONENTS = 1024 - LEAST_EXPONENT + 1


def exact_sums(table: Doubles) -> list[int]:
    """Return the exact sum of each row of finite doubles, in units."""
    rows, columns = table.shape
    if not table.size:
        return [0] * rows
    if columns <= MAX_SHORT_ROW:
        fractions, exponents = np.frexp(table)
        least = int(exponents.min())
        shifts = exponents - least
        if shifts.max() < LOW_BITS:
            mantissas = whole_mantissas(fractions)
            highs = ((mantissas >> LOW_BITS) << shifts).sum(axis=1).tolist()
            lows = ((mantissas & LOW_MASK) << shifts).sum(axis=1).tolist()
            totals = [(high << LOW_BITS) + low for high, low in zip(highs, lows, strict=True)]
            return [in_units(total << (least - LEAST_EXPONENT)) for total in totals]
    return [exact_sum(row) for row in table]


def exact_sum(values: Doubles) -> int:
    """Return the exact sum of finite doubles, in units."""
    return sum(chunk_sum(values[i : i + SUM_CHUNK]) for i in range(0, len(values), SUM_CHUNK))


def chunk_sum(values: Doubles) -> int:
    fractions, exponents = np.frexp(values)
    mantissas = whole_mantissas(fractions)
    places = exponents - LEAST_EXPONENT
    # Mantissas of one exponent are summed as doubles, in halves small enough not to be rounded.
    high = np.bincount(places, mantissas >> LOW_BITS, EXPONENTS)
    low = np.bincount(places, mantissas & LOW_MASK, EXPONENTS)
    total = 0
    for place in np.flatnonzero((high != 0) | (low != 0)).tolist():
        total += ((int(high[place]) << LOW_BITS) + int(low[place])) << place
    return in_units(total)


def whole_mantissas(fractions: Doubles) -> npt.NDArray[np.int64]:
    return np.ldexp(fractions, MANTISSA_BITS).astype(np.int64)


def in_units(total: int) -> int:
    """Convert a sum of whole mantissas, each shifted by its exponent less LEAST_EXPONENT."""
    # A mantissa of exponent e counts 2^(e - 53), which is 2^(e - 53 + 1074) units.
    return total >> (MANTISSA_BITS - 1074 - LEAST_EXPONENT)


def pack_sum(total: int) -> bytes:
    """Write a sum in few bytes if its numbers are of similar size: trailing zero bits are only counted."""
    zeros = (total & -total).bit_length() - 1 if total else 0
    digits = total >> zeros
    size = digits.bit_length() // 8 + 1
    return struct.pack("<HH", zeros, size) + digits.to_bytes(size, "little", signed=True)


def unpack_sum(data: bytes, start: int) -> tuple[int, int]:
    """Return the packed sum that begins at `start`, and where it ends."""
    zeros, size = struct.unpack_from("<HH", data, start)
    end = start + 4 + size
    return int.from_bytes(data[start + 4 : end], "little", signed=True) << zeros, end


def rounded(total: int, divisor: int = 1) -> float | None:
    """Return the double nearest to a sum in units, divided; None beyond the largest double."""
    try:
        # Python rounds the quotient of whole numbers correctly.
        return total / (UNITS * divisor)
    except OverflowError:
        return None

import struct

import numpy as np

# Every double is a whole multiple of the smallest one, which is 1 / UNITS.
UNITS = 2**1074
# So many halves of 27 bits add up in a double without rounding.
SUM_CHUNK = 2**25
LOW_BITS = 27
LOW_MASK = 2**LOW_BITS - 1
MAX_SHORT_ROW = 1024
# Exponents of doubles as frexp gives them: subnormal ones down to here.
LEAST_EXPONENT = -1073
EXPONENTS = 1024 - LEAST_EXPONENT + 1


# --- Exact sums


def exact_sums(table: np.ndarray) -> list[int]:
    """Of each row of a table of finite doubles its sum in units of the smallest double: nothing is rounded,
    in whatever order."""
    rows, columns = table.shape
    if not table.size:
        return [0] * rows
    if columns <= MAX_SHORT_ROW:
        fractions, exponents = np.frexp(table)
        least = int(exponents.min())
        shifts = exponents - least
        if shifts.max() < LOW_BITS:
            # Halves of so few, so little shifted, add up in 64 bits.
            mantissas = np.ldexp(fractions, 53).astype(np.int64)
            highs = ((mantissas >> LOW_BITS) << shifts).sum(axis=1).tolist()
            lows = ((mantissas & LOW_MASK) << shifts).sum(axis=1).tolist()
            totals = [(high << LOW_BITS) + low for high, low in zip(highs, lows, strict=True)]
            return [in_units(total << (least - LEAST_EXPONENT)) for total in totals]
    return [exact_sum(row) for row in table]


def exact_sum(values: np.ndarray) -> int:
    """The sum of finite doubles, likewise."""
    return sum(chunk_sum(values[i : i + SUM_CHUNK]) for i in range(0, len(values), SUM_CHUNK))


def chunk_sum(values: np.ndarray) -> int:
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, 53).astype(np.int64)
    places = exponents - LEAST_EXPONENT
    # Sums of one exponent, each in two halves that no double rounds.
    high = np.bincount(places, mantissas >> LOW_BITS, EXPONENTS)
    low = np.bincount(places, mantissas & LOW_MASK, EXPONENTS)
    total = 0
    for place in np.flatnonzero((high != 0) | (low != 0)).tolist():
        total += ((int(high[place]) << LOW_BITS) + int(low[place])) << place
    return in_units(total)


def in_units(total: int) -> int:
    """Of mantissas shifted by their exponents less LEAST_EXPONENT."""
    # A mantissa of exponent e counts 2^(e - 53), which is 2^(e + 1074 - 53) units.
    return total >> (53 - 1074 - LEAST_EXPONENT)


def pack_sum(total: int) -> bytes:
    """Few bytes for a sum of numbers of similar size: its trailing zero bits are counted only."""
    zeros = (total & -total).bit_length() - 1 if total else 0
    digits = total >> zeros
    size = digits.bit_length() // 8 + 1
    return struct.pack("<HH", zeros, size) + digits.to_bytes(size, "little", signed=True)


def unpack_sum(data: bytes, start: int) -> tuple[int, int]:
    """The sum that begins at `start`, and where it ends."""
    zeros, size = struct.unpack_from("<HH", data, start)
    end = start + 4 + size
    return int.from_bytes(data[start + 4 : end], "little", signed=True) << zeros, end


def rounded(total: int, divisor: int = 1) -> float | None:
    """The nearest double to a sum in units, divided; None beyond the largest double."""
    try:
        # Dividing whole numbers rounds correctly.
        return total / (UNITS * divisor)
    except OverflowError:
        return None

"""Sorted keys packed in blocks, each of which can be fetched and unpacked without the others."""

from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from devices.exact.keys import Keys

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# Values in a block: the first is its sample, the others are packed as differences.
BLOCK = 256


class Packed(NamedTuple):
    """A sorted array in blocks of BLOCK values.

    `sample` has the first value of each block. `data` has the others: each as the difference from the value
    before it, in as many little-endian bytes as the block's entry in `widths` says.
    """

    sample: Keys  # one per block
    widths: Bytes  # one per block, 0 to 8
    data: bytes


@overload
def blocks_of(count: int) -> int: ...
@overload
def blocks_of(count: Integers) -> Integers: ...
def blocks_of(count: int | Integers) -> int | Integers:
    return -(-count // BLOCK)


def pack(keys: Keys) -> Packed:
    """Pack sorted keys."""
    blocks = blocks_of(len(keys))
    if not blocks:
        return Packed(np.empty(0, np.uint64), np.empty(0, np.uint8), b"")
    # Copies of the last key fill the last block: differences of 0.
    padded = np.full(blocks * BLOCK, keys[-1], np.uint64)
    padded[: len(keys)] = keys
    table = padded.reshape(blocks, BLOCK)
    steps = table[:, 1:] - table[:, :-1]
    widths = bytes_needed(steps.max(axis=1))
    step_bytes = steps.view(np.uint8).reshape(blocks, BLOCK - 1, 8)
    # Blocks of one width that follow each other are cut in one piece.
    ends = np.flatnonzero(np.diff(widths, append=9)) + 1
    parts, start = [], 0
    for end in ends.tolist():
        if widths[start]:
            parts.append(step_bytes[start:end, :, : widths[start]].tobytes())
        start = end
    return Packed(table[:, 0].copy(), widths, b"".join(parts))


def bytes_needed(numbers: Keys) -> Bytes:
    """Return how many bytes each number takes, from 0 for the number 0 to 8."""
    limits = np.uint64(1) << (np.uint64(8) * np.arange(8, dtype=np.uint64))
    return np.searchsorted(limits, numbers, "right").astype(np.uint8)


def block_bytes(widths: Bytes) -> Integers:
    """Return the length of each block's data."""
    return widths.astype(np.int64) * (BLOCK - 1)


def unpack(sample: Keys, widths: Bytes, data: Bytes) -> Keys:
    """Return the keys of whole blocks, of shape (blocks, BLOCK); an array's last block ends in copies."""
    table = np.zeros((len(widths), BLOCK), np.uint64)
    table[:, 0] = sample
    ends = np.cumsum(block_bytes(widths))
    for width in np.unique(widths).tolist():
        if not width:
            continue
        chosen = np.flatnonzero(widths == width)
        starts = ends[chosen] - width * (BLOCK - 1)
        if chosen[-1] - chosen[0] + 1 == len(chosen):
            # They follow each other: a slice, which copies nothing.
            raw = data[starts[0] : ends[chosen[-1]]]
        else:
            raw = data[starts[:, None] + np.arange(width * (BLOCK - 1))]
        wide = np.zeros((len(chosen), BLOCK - 1, 8), np.uint8)
        wide[:, :, :width] = raw.reshape(len(chosen), BLOCK - 1, width)
        table[chosen, 1:] = wide.view(np.uint64)[:, :, 0]
    return np.cumsum(table, axis=1, dtype=np.uint64)

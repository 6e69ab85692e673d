from typing import NamedTuple

import numpy as np

# Values in a block: one of them is its sample, the others are packed as differences.
BLOCK = 256


# --- Packing


class Packed(NamedTuple):
    """A sorted array in blocks of BLOCK. The first of each block stands in `sample`, the others in `data`, as
    differences to the one before, each of as many little-endian bytes as the block's `width` says."""

    sample: np.ndarray  # uint64, a key per block
    widths: np.ndarray  # uint8, 0 to 8
    data: bytes


def blocks_of(count: int | np.ndarray) -> int | np.ndarray:
    return -(-count // BLOCK)


def pack(keys: np.ndarray) -> Packed:
    """`keys`: sorted uint64."""
    blocks = blocks_of(len(keys))
    if not blocks:
        return Packed(np.empty(0, np.uint64), np.empty(0, np.uint8), b"")
    padded = np.full(blocks * BLOCK, keys[-1], np.uint64)
    padded[: len(keys)] = keys
    table = padded.reshape(blocks, BLOCK)
    steps = table[:, 1:] - table[:, :-1]
    largest = steps.max(axis=1)
    limits = np.uint64(1) << (np.uint64(8) * np.arange(8, dtype=np.uint64))
    widths = np.searchsorted(limits, largest, "right").astype(np.uint8)
    small = steps.view(np.uint8).reshape(blocks, BLOCK - 1, 8)
    ends = np.flatnonzero(np.diff(widths, append=9)) + 1
    parts, start = [], 0
    for end in ends.tolist():
        if widths[start]:
            parts.append(small[start:end, :, : widths[start]].tobytes())
        start = end
    return Packed(table[:, 0].copy(), widths, b"".join(parts))


def block_bytes(widths: np.ndarray) -> np.ndarray:
    """How many bytes each block has."""
    return widths.astype(np.int64) * (BLOCK - 1)


def unpack(sample: np.ndarray, widths: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Keys of shape (blocks, BLOCK) of whole blocks; `data`: uint8. The last of an array ends in copies."""
    table = np.zeros((len(widths), BLOCK), np.uint64)
    table[:, 0] = sample
    ends = np.cumsum(block_bytes(widths))
    for width in np.unique(widths).tolist():
        if not width:
            continue
        chosen = np.flatnonzero(widths == width)
        starts = ends[chosen] - width * (BLOCK - 1)
        if chosen[-1] - chosen[0] + 1 == len(chosen):
            raw = data[starts[0] : ends[chosen[-1]]]
        else:
            raw = data[starts[:, None] + np.arange(width * (BLOCK - 1))]
        wide = np.zeros((len(chosen), BLOCK - 1, 8), np.uint8)
        wide[:, :, :width] = raw.reshape(len(chosen), BLOCK - 1, width)
        table[chosen, 1:] = wide.view(np.uint64)[:, :, 0]
    return np.cumsum(table, axis=1, dtype=np.uint64)

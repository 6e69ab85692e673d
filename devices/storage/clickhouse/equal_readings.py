"""Which of given readings are stored, and deleting them again. There are no row ids: equal is the same."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from devices.storage import row_codec
from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.row_binary import bits
from devices.storage.interface import Rows
from devices.timeline.instants import PgTimes, UnixTimes, pg_to_unix

# A reading as a key: device, microseconds since 1970, values.
Key = tuple[int, int, tuple[float, ...]]
# One statement deletes this many readings: its length is limited.
READINGS_AT_ONCE = 500


class ReadingsOnServer(Protocol):
    def query_devices(
        self, statement: str, device_ids: Sequence[int], **parameters: object
    ) -> list[tuple]: ...
    def delete(self, condition: str) -> None: ...
    def take_over(self, rows: Rows) -> None: ...


def keys_of(rows: Rows) -> list[Key]:
    found = []
    for table in row_codec.split_by_width(rows.payload) if rows.payload else ():
        devices = table["device"].tolist()
        times = pg_to_unix(PgTimes(table["time"].astype(np.int64))).tolist()
        values = map(tuple, table["items"]["value"].tolist())
        found += list(zip(devices, times, values, strict=True))
    return found


def stored_at(server: ReadingsOnServer, keys: Sequence[Key]) -> Counter[Key]:
    """Count all readings of the keys' devices at the keys' times."""
    times = sorted({time for _, time, _ in keys})
    found = server.query_devices(
        sql.AT_TIMES,
        sorted({device for device, _, _ in keys}),
        start=times[0],
        end=times[-1] + 1,
        times=times,
    )
    return Counter((device, time, tuple(values)) for device, time, values in found)


def present(server: ReadingsOnServer, rows: Rows) -> npt.NDArray[np.bool_]:
    keys = keys_of(rows)
    stored = stored_at(server, keys) if keys else Counter()
    return np.array([stored[key] > 0 for key in keys], bool)


def take_back(server: ReadingsOnServer, rows: Rows) -> int:
    """Delete all readings that equal these rows, then store again those that were there beyond them."""
    wanted = Counter(keys_of(rows))
    if not wanted:
        return 0
    stored = stored_at(server, list(wanted))
    taken = {key: min(count, stored[key]) for key, count in wanted.items() if stored[key]}
    doomed = list(taken)
    for i in range(0, len(doomed), READINGS_AT_ONCE):
        server.delete(" OR ".join(map(equals, doomed[i : i + READINGS_AT_ONCE])))
    left = [key for key, count in taken.items() for _ in range(stored[key] - count)]
    for width in sorted({len(values) for _, _, values in left}):
        server.take_over(encoded([key for key in left if len(key[2]) == width]))
    return sum(taken.values())


def equals(key: Key) -> str:
    device, time, values = key
    numbers = ", ".join(f"reinterpretAsFloat64(toUInt64({number}))" for number in bits(values))
    return f"(device_id = {device} AND time = {time} AND values = [{numbers}])"


def encoded(keys: Sequence[Key]) -> Rows:
    devices, times, values = zip(*keys, strict=True)
    return row_codec.encode_rows(
        np.array(devices, np.int64), UnixTimes(np.array(times, np.int64)), np.array(values, np.float64)
    )

"""The interface of every storage of readings, and the types that it takes and gives.

READINGS_URL chooses PostgreSQL or ClickHouse; nothing outside of this package knows which. Both give the same
answers, and one suite of tests runs against each. Devices, exclusions, Idempotency-Keys and the change log
(`devices.storage.change_log`) are in the portal's database in either case.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from devices.timeline.instants import (
    PgMicroseconds,
    PgTimes,
    UnixMicroseconds,
    UnixTimes,
)
from devices.timeline.periods import Period
from devices.timeline.spans import Span

MEDIAN = 0.5
# An interval longer than GAP_FACTOR expected intervals is a gap.
GAP_FACTOR = 2


class StorageUnavailable(Exception):
    """The storage does not answer, or has no schema yet; a later attempt may succeed."""


class QueryBound:
    """Seconds after which ClickHouse ends a query of this process; 0 is no bound. The web server sets them.

    PostgreSQL has the same of each connection.
    """

    seconds = 0


class RepeatTransaction(Exception):
    """The transaction was aborted and stored nothing, and the cause is removed: run it once more."""


# --- Rows


class Rows(NamedTuple):
    """Readings ready to be stored: rows of PostgreSQL's binary COPY, and the time of each."""

    payload: bytes
    times: Sequence[UnixMicroseconds] | UnixTimes


class StoredReading(NamedTuple):
    device_id: int
    time: datetime
    values: list[float]
    place: str

    @property
    def position(self) -> "Position":
        return Position(self.time, self.device_id, self.place)


# Of each reading the device and the time, as arrays of one length.
DevicesAndTimes = tuple[npt.NDArray[np.int64], PgTimes]


class Position(NamedTuple):
    """Where a page of readings ended. Pages are ordered by these three fields, newest first.

    `place` tells apart readings of a device that share a time; its form is the storage's own.
    """

    time: datetime
    device_id: int
    place: str


# --- Figures


class FiguresQuery(NamedTuple):
    """Asks for the figures of a device's span. `channels` is the number of values in each of its readings."""

    span: Span
    channels: int
    expected_seconds: float | None


class ChannelFigures(NamedTuple):
    """Figures of one channel; without values `low` and `high` are None and `quantiles` is empty.

    `total` is the exact sum in units of the smallest double (`devices.exact.sums.UNITS`). `quantiles` has one
    value for each share of the query, equal to PostgreSQL's percentile_cont.
    """

    count: int  # type: ignore[assignment]  # hides tuple.count
    low: float | None
    high: float | None
    total: int
    quantiles: list[float]


NO_FIGURES = ChannelFigures(0, None, None, 0, [])


class Figures(NamedTuple):
    """Figures of one FiguresQuery. Intervals and lengths are in microseconds.

    `interval`: the median of the intervals between readings of different times.
    `gaps`: the number of intervals longer than GAP_FACTOR times the expected one, or else that median.
    `gap_length`: the length of all gaps together.
    `longest`: the bounds of the longest interval, the first of equals.
    """

    channels: list[ChannelFigures]
    readings: int
    excluded: int
    first: PgMicroseconds | None
    last: PgMicroseconds | None
    interval: float | None
    gaps: int
    gap_length: int
    longest: tuple[PgMicroseconds, PgMicroseconds] | None
    rows_read: int
    segments_used: int


class FiguresAnswer(NamedTuple):
    """`each` is in the order of the queries, `pooled` in that of the pools.

    `snapshot` is the state of the change log that all figures are about, or an earlier one.
    """

    each: list[Figures]
    pooled: list[ChannelFigures]
    snapshot: str


# The channels whose values go into one pool: the index of the query, the index of the channel.
Pool = Sequence[tuple[int, int]]
# Called with how many queries are answered, or readings deleted, so far.
Report = Callable[[int], None]


@dataclass(frozen=True)
class ChartSeries:
    """Columns of a chart, in order; none is empty.

    A column has `counts` readings, the first at `starts`, the last at `ends`. `lows`, `means` and `highs` are
    float64 of shape (channels, columns).
    """

    starts: PgTimes
    ends: PgTimes
    counts: npt.NDArray[np.int64]
    lows: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    highs: npt.NDArray[np.float64]


class DayChecksum(NamedTuple):
    """Number and checksum (see `Storage.days`) of a device's readings of a day in UTC."""

    count: int  # type: ignore[assignment]  # hides tuple.count
    checksum: int


class Storage(Protocol):
    """Each method raises StorageUnavailable, or Django's OperationalError for the portal's database."""

    # Storing

    def append(self, rows: Rows, token: str = "") -> None:
        """Store all rows or none, and note late ones in the change log. Values must be finite.

        If a surrounding transaction of the portal's database is rolled back, rows in another storage may
        stay; the same rows under the same token are then not stored again.
        """

    def put(self, connection: Any, rows: Sequence[Rows], tokens: Sequence[str] | None = None) -> None:
        """Do as `append` through `connection`, one of psycopg2's to the portal's database.

        In autocommit mode it commits; with autocommit off it is part of the open transaction. `tokens` has
        one token for each of `rows`. Raises psycopg2.IntegrityError and, in a transaction only,
        RepeatTransaction.
        """

    def clear(self, device_id: int) -> None:
        """Delete all readings of a device at once: no later query sees any of them."""

    def erase(self, device_id: int, report: Report) -> int:
        """Delete the readings of a device that no longer exists; returns their number.

        `report` takes the number of those deleted so far, now and then.
        """

    def take_back(self, rows: Rows) -> int:
        """Delete a stored reading for each of these rows that equals it; returns how many there were.

        Of equal readings as many stay as were stored beyond these rows. The change log names all of them. It
        is part of an open transaction of the portal's database, as far as the storage can.
        """

    def prepare(self, now: datetime) -> list[str]:
        """Make the partitions of the coming months; returns the names of new ones."""

    def build(self, seconds: float) -> int:
        """Work for some seconds on what makes answers faster; returns the number of readings processed."""

    # Rows

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        """Return up to `limit` readings of the devices, newest first, that follow the position `after`."""

    def is_place(self, text: str) -> bool:
        """Tell whether the text has the form of a Position's place."""

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        """Return the newest reading of each device that has one."""

    def newest(self, device_ids: Sequence[int], limit: int) -> dict[int, list[StoredReading]]:
        """Return up to `limit` readings, newest first, of each device that has one."""

    def newest_times(self, device_ids: Sequence[int], limit: int) -> DevicesAndTimes:
        """Return the times alone of what `newest` returns, grouped by device: quick for very many devices."""

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        """Return the devices that have a reading at `time` or later."""

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        """Return the time of the oldest reading of the devices."""

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        """Tell whether the device has a reading of exactly this time and these values."""

    def present(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Tell for each row whether a reading equal to it, in device, time and values, is stored."""

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        """Count the readings of each device in the period, excluded ones included."""

    # Figures: excluded readings are left out

    def figures(
        self,
        asked: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> FiguresAnswer:
        """Compute the figures of all queries in one state of the data, as far as the storage can.

        Queries that share a pool must be about the same period. Raises ValueError if a stored reading has
        another number of values than its query says.
        """

    def series(self, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
        """Thin the readings of a period, both bounds of which are given, to at most `points` columns."""

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        """Return each hour (UTC) that has readings, in order, with the mean of the channel at this index.

        The same readings give the same means to the last bit.
        """

    # Copying: excluded readings are included

    def days(self, device_id: int) -> dict[int, DayChecksum]:
        """Return the checksums of a device's days, which count from 1970-01-01.

        A checksum is the sum, modulo 2^64, of the first eight bytes of the MD5 of each reading as
        `timestamptz_send(time) || array_send(values)` writes it: exact to the last bit, in any order.
        """

    def rows_of(self, span: Span) -> Rows:
        """Return the device's readings of a span that is not open."""

    def take_over(self, rows: Rows) -> None:
        """Store rows that another storage has already; only data derived from rows here become stale."""

    def remove(self, spans: Sequence[Span]) -> None:
        """Delete the readings of spans that are not open."""

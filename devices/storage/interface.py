"""Where readings are kept, behind an interface: nothing above knows whether it is PostgreSQL or ClickHouse.

READINGS_URL chooses. Every storage answers the same; one suite of tests asks all of them. Whichever it is,
devices, exclusions, Idempotency-Keys and the change log (`storage.change_log`) are in the portal's database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np

from devices.timeline.periods import Period
from devices.timeline.spans import Span

MEDIAN = 0.5
# An interval longer than so many expected ones is a gap.
GAP_FACTOR = 2
MICROSECONDS_PER_SECOND = 1_000_000


class StorageUnavailable(Exception):
    """The storage does not answer, or its schema is not there yet: it may in a moment."""


class RepeatTransaction(Exception):
    """The transaction was aborted, nothing was stored, and the cause is removed: run it once more."""


# --- Rows


class Rows(NamedTuple):
    """Readings ready to be stored: rows of PostgreSQL's binary COPY, and their stamps for the partitions."""

    payload: bytes
    times: Sequence[int]  # microseconds since 1970


class StoredReading(NamedTuple):
    device_id: int
    time: datetime
    values: list[float]
    place: str

    @property
    def position(self) -> "Position":
        return Position(self.time, self.device_id, self.place)


class Position(NamedTuple):
    """Where a page of readings ended: readings are ordered by these three, newest first.

    `place` is the storage's own way to tell apart readings of a device that share a stamp.
    """

    time: datetime
    device_id: int
    place: str


# --- Figures


class FiguresQuery(NamedTuple):
    """A device's span of which figures are wanted; `channels` is how many values its readings have."""

    span: Span
    channels: int
    expected_seconds: float | None


class ChannelFigures(NamedTuple):
    """Of one channel. `total`: the exact sum in units of the smallest double (`segments.UNITS`); `quantiles`:
    one for each share that was asked for, as PostgreSQL's percentile_cont. None and empty of no values."""

    count: int
    low: float | None
    high: float | None
    total: int
    quantiles: list[float]


NO_FIGURES = ChannelFigures(0, None, None, 0, [])


class Figures(NamedTuple):
    """Of what was `Asked`. Times and lengths are in microseconds, times since 2000.

    `interval`: the median of those between readings of different stamps. `gaps`: how many intervals between
    readings are longer than GAP times the expected one, else that median; `gap_length`: of all of these
    together; `longest`: bounds of the longest interval of all, the first of equals.
    """

    channels: list[ChannelFigures]
    readings: int
    excluded: int
    first: int | None
    last: int | None
    interval: float | None
    gaps: int
    gap_length: int
    longest: tuple[int, int] | None
    rows_read: int
    segments_used: int


class FiguresAnswer(NamedTuple):
    """`each` in the order of what was asked; `pooled` in that of the pools. `snapshot` is the state of the
    change log that all of it is about, or an earlier one."""

    each: list[Figures]
    pooled: list[ChannelFigures]
    snapshot: str


# Of a pool the channels whose values go in: number of the question, place of the channel.
Pool = Sequence[tuple[int, int]]
# Called with how many of the questions are answered.
Report = Callable[[int], None]


@dataclass(frozen=True)
class ChartSeries:
    """Columns with readings, in order, each of `counts` readings from `starts` to `ends`, both included, in
    microseconds since 2000. `lows`, `means`, `highs`: float64 of shape (channels, columns)."""

    starts: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    lows: np.ndarray
    means: np.ndarray
    highs: np.ndarray


class DayChecksum(NamedTuple):
    """What there is of a device on a day in UTC. `checksum`: see `Storage.days`."""

    count: int
    checksum: int


class Storage(Protocol):
    """Each method raises Unavailable, or Django's OperationalError where it asks the portal's database."""

    # Storing

    def append(self, rows: Rows, token: str = "") -> None:
        """Store all of them or none, with what the change log is to know. Values must be finite.

        Within a transaction of the portal's database that is rolled back they may stay, if the storage is
        elsewhere; under the same token the same rows are then not stored again.
        """

    def put(self, connection: Any, rows: Sequence[Rows], tokens: Sequence[str] | None = None) -> None:
        """Store all of them through `connection`, one of psycopg2's to the portal's database.

        In autocommit mode it commits, with what the change log is to know. In a transaction (autocommit off)
        it is part of that one. `tokens`: one for each of `rows`, see `append`. Raises psycopg2.IntegrityError
        and, in a transaction only, RepeatTransaction.
        """

    def clear(self, device_id: int) -> None:
        """Delete all readings of a device: whoever asks afterwards sees none of them."""

    def erase(self, device_id: int) -> int:
        """Delete what a device that is no more has left behind; returns how many readings that were."""

    def prepare(self, now: datetime) -> list[str]:
        """Make in advance what the next months' readings need; returns the names of what is new."""

    def build(self, seconds: float) -> int:
        """Work for so long on what makes answers faster; returns the number of readings worked on."""

    # Asking for rows

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        """Up to `limit` readings of these devices, newest first, from behind `after` on."""

    def is_place(self, text: str) -> bool:
        """Whether it can be the place of a Position."""

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        """The reading with the largest stamp of each device that has one."""

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        """Those of the devices that have a reading at `time` or later."""

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        """The smallest stamp of the devices' readings."""

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        """Whether there is a reading of exactly this stamp and these values."""

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        """How many readings each device has in the period, excluded ones too."""

    # Asking for figures; all but `days` leave excluded readings out.

    def figures(
        self,
        asked: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> FiguresAnswer:
        """All in one state of the data, as far as the storage can. Pools are of questions about one period.

        Raises ValueError if a reading has another number of values.
        """

    def series(self, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
        """The readings of a period with both bounds in `points` columns at most."""

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        """Hours (UTC) that have readings, in order, each with the mean of the channel at this position.

        The same readings give the same means to the last bit.
        """

    # Copying

    def days(self, device_id: int) -> dict[int, DayChecksum]:
        """What there is of the device by day, in days since 1970.

        The checksum is the sum, modulo 2^64, of the first eight bytes of the MD5 of each reading as
        `timestamptz_send(time) || array_send(values)` writes it: to the last bit, in whatever order.
        """

    def rows_of(self, span: Span) -> Rows:
        """The device's readings of a span that has both bounds."""

    def take_over(self, rows: Rows) -> None:
        """Store what another storage has already: only what is derived from it here needs to know."""

    def remove(self, spans: Sequence[Span]) -> None:
        """Delete the readings of spans that have both bounds, which another storage has no more."""

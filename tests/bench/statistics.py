"""Exact statistics of many readings: the portal, percentile_cont in the same PostgreSQL, DuckDB and chDB.

Needs Django set up on its own migrated database. All answers are compared, so only correct ones are timed.
"""

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isclose
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from django.db import connection

from analytics.analyses.series import series_body
from devices import statistics
from devices.models import Device, DeviceProfile
from devices.storage import row_codec
from devices.storage.postgresql import readings_table, segment_schedule
from devices.timeline.instants import MICROSECOND, UNIX_EPOCH
from devices.timeline.periods import Period
from tests.bench.load import Failed
from tests.bench.sides import PEER_PYTHON, ROOT
from users.models import User

ENGINE = Path(__file__).with_name("engine.py")
ENGINES = ("DuckDB", "chDB")
PORTAL, SQL = "portal", "percentile_cont"
PERIODS = {"all time": (0.0, 1.0), "30 %": (0.41, 0.71), "1 day": (0.5, None)}
BLOCK = 500_000
FLEET, FLEET_READINGS = 100, 100_000
SMALL_READINGS = 100
POINTS = 1000
YEAR = timedelta(days=365)
# With more readings of one device, sorting in PostgreSQL takes minutes.
MOST_FOR_SQL = 10_000_000
INGESTED_A_SECOND = 5000
CHANNELS = 3
RAW = np.dtype([("t", "<i8"), ("values", "<f8", (CHANNELS,))])


@dataclass
class Outcome:
    """Seconds of each round by (query, contender), and the cost of building by size (see `built`)."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    built: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    def note(self, what: str, who: str, seconds: float) -> None:
        self.seconds.setdefault((what, who), []).append(seconds)

    def median(self, what: str, who: str) -> float | None:
        found = self.seconds.get((what, who))
        return median(found) if found else None

    def ratio(self, what: str, who: str) -> float | None:
        """The median over the rounds of their time divided by the portal's."""
        theirs, ours = self.seconds.get((what, who), []), self.seconds.get((what, PORTAL), [])
        ratios = [a / b for a, b in zip(theirs, ours, strict=False)]
        return median(ratios) if ratios else None


def measure(folder: Path, sizes: Sequence[int], rounds: int, say: Callable[[str], None]) -> Outcome:
    """Measure everything. Raises Failed if two contenders' answers differ."""
    outcome = Outcome()
    # For percentile_cont. Set once: a statement just before each query would warm the server up for it.
    query("SET work_mem = '1GB'")
    owner = User.objects.create_user("bench", "bench@example.com", name="Bench")
    profile = DeviceProfile.objects.get(name="xyz")
    small = create_device(owner, profile, SMALL_READINGS, folder / "small.bin")
    for size in sizes:
        say(f"{size:,} readings of one device: storing.")
        file = folder / f"{size}.bin"
        device = create_device(owner, profile, size, file)
        outcome.built[size] = build_segments(device, size)
        say(f"{size:,} readings of one device: asking.")
        measure_device(outcome, device, size, file, rounds)
        # The first round is a warm-up.
        forget_first(outcome)
        if size <= MOST_FOR_SQL:
            largest = device
    say(f"{SMALL_READINGS} readings of one device.")
    for _ in range(20 * rounds):
        compare(outcome, f"{SMALL_READINGS} readings", small, Period(), {PORTAL: ask_portal, SQL: ask_sql})
    say(f"{INGESTED_A_SECOND:,} readings a second come in.")
    with ingestion(owner, profile):
        for _ in range(10 * rounds):
            what = f"{max(s for s in sizes if s <= MOST_FOR_SQL):,} readings, all time, during ingestion"
            compare(outcome, what, largest, Period(end=end_of(largest)), {PORTAL: ask_portal})
    say(f"{FLEET} devices of {FLEET_READINGS:,} readings each.")
    measure_fleet(outcome, profile, folder, rounds)
    return outcome


def measure_device(outcome: Outcome, device: Device, size: int, file: Path, rounds: int) -> None:
    with ExitStack() as stack:
        engines = {name: stack.enter_context(engine(name, file.parent, file)) for name in ENGINES}
        contenders = {PORTAL: ask_portal, SQL: ask_sql, **{n: ask_engine(engines[n]) for n in ENGINES}}
        if size > MOST_FOR_SQL:
            del contenders[SQL]
        for _ in range(rounds + 1):
            one_round(outcome, device, size, contenders)
        for _ in range(2 * rounds + 1):
            draw_and_check(outcome, device, size)


def forget_first(outcome: Outcome) -> None:
    for name, found in outcome.seconds.items():
        outcome.seconds[name] = found[1:] if len(found) > 1 else found


def create_device(owner: User, profile: DeviceProfile, size: int, file: Path) -> Device:
    """A device with a reading a second of random doubles, which compress worst."""
    device = Device.objects.create(owner=owner, profile=profile, name=f"{size:,}")
    end = datetime.now(UTC) - timedelta(hours=1)
    last = (end - UNIX_EPOCH) // MICROSECOND
    random_ = np.random.default_rng(size)
    with file.open("wb") as copy:
        for first in range(0, size, BLOCK):
            part = np.empty(min(BLOCK, size - first), RAW)
            part["t"] = last - (size - first - np.arange(len(part))) * 1_000_000
            part["values"] = random_.normal(20, 5, (len(part), CHANNELS))
            readings_table.append(row_codec.encode_rows(device.pk, part["t"], part["values"]))
            part.tofile(copy)
    return Device.objects.with_channels().get(pk=device.pk)


def build_segments(device: Device, size: int) -> tuple[float, float, float]:
    """Build segments. Return microseconds and bytes per reading, and the size ratio (rows + segments) / rows.

    Raises Failed if not all readings are built.
    """
    query("VACUUM (ANALYZE) devices_reading")
    before = bytes_of("devices_segment")
    began = time.perf_counter()
    progress = segment_schedule.build(device.pk, CHANNELS)
    seconds = time.perf_counter() - began
    if progress.readings != size or not progress.is_done:
        raise Failed(f"{progress} of {size} readings.")
    query("VACUUM (ANALYZE) devices_segment")
    segments = bytes_of("devices_segment") - before
    [(rows,)] = query("SELECT count(*) FROM devices_reading")
    row_bytes = sum(bytes_of(name) for (name,) in query(PARTITIONS)) / rows
    return seconds / size * 1e6, segments / size, 1 + segments / size / row_bytes


PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'devices_reading'::regclass"


def bytes_of(table: str) -> int:
    """The size of a table with its indexes and TOAST table."""
    return query("SELECT pg_total_relation_size(%s)", [table])[0][0]


def query(statement: str, parameters: Sequence[Any] = ()) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, list(parameters) or None)
        return cursor.fetchall() if cursor.description else []


# --- The contenders: each returns seconds and the medians

Answer = tuple[float, list[float]]
Contender = Callable[[Device, Period], Answer]


def timed(job: Callable[[], list[float]]) -> Answer:
    began = time.perf_counter()
    medians = job()
    return time.perf_counter() - began, medians


def ask_portal(device: Device, period: Period) -> Answer:
    """The portal's whole answer, including the other figures and the coverage."""
    return timed(
        lambda: [numbers.median for numbers in statistics.of_device(device, period).channels.values()]
    )


FIGURES = ", ".join(
    f"min(values[{i}]), max(values[{i}]), count(values[{i}]), sum(values[{i}]),"
    f" percentile_cont(0.5) WITHIN GROUP (ORDER BY values[{i}])"
    for i in range(1, CHANNELS + 1)
)


def ask_sql(device: Device, period: Period) -> Answer:
    bounds, parameters = readings_table.conditions(period)
    statement = f"SELECT {FIGURES} FROM devices_reading WHERE device_id = %s{bounds}"
    return timed(lambda: list(query(statement, [device.pk, *parameters])[0][4::5]))


@contextmanager
def engine(name: str, folder: Path, file: Path) -> Iterator[subprocess.Popen]:
    home = folder / f"{name}-{file.stem}"
    home.mkdir()
    argv = [str(part) for part in (PEER_PYTHON, ENGINE, name, home, file)]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        try:
            if process.stdout.readline().strip() != "ready":
                raise Failed(f"{name} did not start.")
            yield process
        finally:
            process.stdin.close()


def ask_engine(process: subprocess.Popen) -> Contender:
    def ask(device: Device, period: Period) -> Answer:
        start, end = (
            default if time_ is None else (time_ - UNIX_EPOCH) // MICROSECOND
            for time_, default in ((period.start, -(2**62)), (period.end, 2**62))
        )
        process.stdin.write(f"{start} {end}\n")
        process.stdin.flush()
        seconds, *medians = map(float, process.stdout.readline().split())
        return seconds, medians

    return ask


def one_round(outcome: Outcome, device: Device, size: int, contenders: dict[str, Contender]) -> None:
    first, last = readings_table.first_time([device.pk]), end_of(device)
    for name, (start, end) in random.sample(list(PERIODS.items()), len(PERIODS)):
        period = Period(
            first + start * (last - first),
            first + start * (last - first) + timedelta(days=1)
            if end is None
            else first + end * (last - first),
        )
        compare(outcome, f"{size:,} readings, {name}", device, period, contenders)


def series_row(size: int) -> str:
    return f"{size:,} readings, of the last year {POINTS:,} points"


def draw_and_check(outcome: Outcome, device: Device, size: int) -> None:
    """Time a chart of the last year, or of all readings if fewer, and the check whether a result is stale."""
    period, snapshot = Period(end=end_of(device)), statistics.snapshot()
    year = Period(period.end - YEAR, period.end) if size > YEAR.total_seconds() else period
    began = time.perf_counter()
    drawn = sum(series_body(device, year, POINTS, period.end)["count"])
    outcome.note(series_row(size), PORTAL, time.perf_counter() - began)
    began = time.perf_counter()
    [count] = statistics.count([device.pk], period).values()
    changed = statistics.changed_since([device.pk], period, snapshot)
    outcome.note(f"{size:,} readings, is a result stale", PORTAL, time.perf_counter() - began)
    if (drawn, count, changed) != (min(size, YEAR.total_seconds()), size, set()):
        raise Failed(f"{size} readings: {drawn} drawn, {count} counted, {changed} changed.")


def end_of(device: Device) -> datetime:
    return readings_table.latest([device.pk])[device.pk].time + timedelta(microseconds=1)


def compare(
    outcome: Outcome, what: str, device: Device, period: Period, contenders: dict[str, Contender]
) -> None:
    """Ask all contenders the same, in random order. Raises Failed if their answers differ."""
    answers = {}
    for who in random.sample(list(contenders), len(contenders)):
        seconds, answers[who] = contenders[who](device, period)
        outcome.note(what, who, seconds)
    for who, medians in answers.items():
        agree = medians == answers[PORTAL] if who == SQL else all(map(isclose, medians, answers[PORTAL]))
        if not agree:
            raise Failed(f"{what}: {who} has {medians}, the portal {answers[PORTAL]}.")


# --- Many devices, and statistics during ingestion


def measure_fleet(outcome: Outcome, profile: DeviceProfile, folder: Path, rounds: int) -> None:
    owner = User.objects.create_user("fleet", "fleet@example.com", name="Fleet")
    for _ in range(FLEET):
        device = create_device(owner, profile, FLEET_READINGS, folder / "fleet.bin")
        segment_schedule.build(device.pk, CHANNELS)
    query("VACUUM (ANALYZE) devices_reading")
    query("VACUUM (ANALYZE) devices_segment")
    devices = list(Device.objects.with_channels().filter(owner=owner))
    ids = [device.pk for device in devices]
    what = f"{FLEET} devices of {FLEET_READINGS:,} readings, pooled and each"
    sql = f"SELECT {FIGURES} FROM devices_reading WHERE device_id = ANY(%s)"
    for number in range(rounds + 1):
        answer, medians = timed(
            lambda: [n.median for n in statistics.of_devices(devices, Period())[0].channels.values()]
        )
        outcome.note(what, PORTAL, answer)
        if number > max(1, rounds // 2):
            continue
        pooled, expected = timed(lambda: list(query(sql, [ids])[0][4::5]))
        each, _ = timed(lambda: query(f"{sql} GROUP BY device_id", [ids]))
        outcome.note(what, SQL, pooled + each)
        if medians != expected:
            raise Failed(f"{what}: percentile_cont has {expected}, the portal {medians}.")


@contextmanager
def ingestion(owner: User, profile: DeviceProfile) -> Iterator[None]:
    """Store fresh readings of 50 devices from a thread of this process."""
    ids = np.array([Device.objects.create(owner=owner, profile=profile).pk for _ in range(50)])
    over = threading.Event()

    def ingest() -> None:
        due = time.monotonic()
        try:
            while not over.wait(max(due - time.monotonic(), 0)):
                due += 0.1
                size = INGESTED_A_SECOND // 10
                now = (datetime.now(UTC) - UNIX_EPOCH) // MICROSECOND
                values = np.random.default_rng().normal(20, 5, (size, CHANNELS))
                readings_table.append(
                    row_codec.encode_rows(np.resize(ids, size), now + np.arange(size), values)
                )
        finally:
            connection.close()

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

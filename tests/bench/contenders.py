"""The contenders of each round.

The table is emptied before each turn; afterwards it must hold exactly the acknowledged rows.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from config.demo.data_folder import postgres_binary
from tests.bench import load
from tests.bench.load import Failed, Figures
from tests.bench.sides import Side

CONNECTIONS = (16, 64, 256)
BATCH = 1000
# Fewer than PostgreSQL could use at once, and as many as the fewest that send singles.
BATCH_CONNECTIONS = (4, 16)
OFFERED = 1000
ORDINARY = "application/json"
# The gate passes a request with an unknown media type parameter on to the REST view.
UNUSUAL = "application/json; x=y"

Contender = Callable[[float], Figures]


@dataclass(frozen=True)
class Reading:
    time: datetime
    values: tuple[float, float, float]

    @property
    def channels(self) -> str:
        return ",".join(f'"{name}":{value}' for name, value in zip("xyz", self.values, strict=True))

    @property
    def array(self) -> str:
        return ",".join(map(str, self.values))


class Sample:
    """The readings to send, the same for all contenders, written to files in each one's format."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.folder = folder
        chance, now = random.Random(1), datetime.now(UTC)
        self.batches = [list(readings(chance, now)) for _ in range(devices)]

    def singles(self, side: Side, media_type: str) -> Path:
        """Write a file with a request of one reading for each device."""
        bodies = [f"{{{batch[0].channels}}}".encode() for batch in self.batches]
        return self.requests(side, "/devices/{}/stats/", media_type, bodies)

    def batches_of(self, side: Side, media_type: str) -> Path:
        """Write a file with a request of one batch for each device."""
        return self.requests(side, "/devices/{}/stats/batch", media_type, map(array, self.batches))

    def requests(self, side: Side, path: str, media_type: str, bodies: Iterable[bytes]) -> Path:
        requests = [
            load.post(path.format(uuid), authorization, media_type, body)
            for (uuid, authorization), body in zip(side.devices.items(), bodies, strict=True)
        ]
        return load.requests_file(self.folder, requests)

    def copy_file(self) -> Path:
        """Write all batches in COPY's text format."""
        path = self.folder / "readings.copy"
        with path.open("w") as file:
            for device, batch in enumerate(self.batches, start=1):
                for reading in batch:
                    file.write(f"{device}\t{reading.time.isoformat()}\t{{{reading.array}}}\n")
        return path

    def insert_script(self, table: str) -> Path:
        path = self.folder / "insert.sql"
        path.write_text(
            f"\\set device random(1, {len(self.batches)})\n"
            f"INSERT INTO {table} (device_id, time, values) VALUES (:device, now(), '{{1.5,-2.25,3.125}}');\n"
        )
        return path


def readings(chance: random.Random, now: datetime) -> Iterator[Reading]:
    for number in range(BATCH):
        x, y, z = (round(chance.gauss(20, 5), 3) for _ in range(3))
        yield Reading(now - timedelta(milliseconds=100 * (BATCH - number)), (x, y, z))


def array(batch: list[Reading]) -> bytes:
    items = (f'{{"timestamp":"{reading.time.isoformat()}",{reading.channels}}}' for reading in batch)
    return f"[{','.join(items)}]".encode()


def contenders(portal: Side, peer: Side, sample: Sample) -> dict[str, Contender]:
    found: dict[str, Contender] = {}
    for name, side, media_type in (
        ("gate", portal, ORDINARY),
        ("REST view", portal, UNUSUAL),
        ("peer", peer, ORDINARY),
    ):
        singles, batches = sample.singles(side, media_type), sample.batches_of(side, media_type)
        for connections in CONNECTIONS:
            send = partial(load.wrk, side.port, singles, connections=connections)
            found[f"{name}, {connections} connections"] = partial(exact, side, send)
        send = partial(load.paced, side.port, singles, rate=OFFERED)
        found[f"{name}, {OFFERED} a second"] = partial(exact, side, send)
        for connections in BATCH_CONNECTIONS:
            send = partial(load.wrk, side.port, batches, connections=connections)
            found[f"{name}, batches, {connections} connections"] = partial(
                exact, side, send, readings_each=BATCH
            )
    env = portal.database.env
    insert = partial(load.pgbench, postgres_binary("pgbench"), env, sample.insert_script(portal.table))
    found["pgbench, 64 clients"] = partial(exact, portal, insert)
    copy = partial(load.copy, postgres_binary("psql"), env, portal.table, sample.copy_file())
    found["psql COPY"] = partial(exact, portal, copy)
    return found


def grown_contenders(grown: Side, sample: Sample, rows: int) -> dict[str, Contender]:
    """The gate, writing to a table that holds `rows` rows already."""
    fill(grown, rows)
    send = partial(load.wrk, grown.port, sample.singles(grown, ORDINARY), connections=64)
    return {f"gate, 64 connections, {rows:,} rows before": partial(exact, grown, send, is_emptied=False)}


def fill(side: Side, rows: int) -> None:
    """Store rows of all devices in turn, from the start of the month until now: in the current partition."""
    side.database.query(
        f"""
        INSERT INTO {side.table} (device_id, time, values)
        SELECT i %% %(devices)s + 1, month + (now() - month) * (i / %(rows)s::float8),
            ARRAY[i %% 1000, random(), -i]::float8[]
        FROM date_trunc('month', now(), 'UTC') AS month, generate_series(0, %(rows)s - 1) AS i
        """,
        {"devices": len(side.devices), "rows": rows},
    )
    side.database.query(f"VACUUM (ANALYZE) {side.table}")


def exact(
    side: Side,
    send: Callable[..., Figures],
    seconds: float,
    *,
    readings_each: int = 1,
    is_emptied: bool = True,
) -> Figures:
    """Run `send`; return figures in readings. Raises Failed unless exactly the acknowledged are stored."""
    if is_emptied:
        side.database.query(f"TRUNCATE {side.table}")
    before = count(side)
    # Flush earlier writes to disk, so that no contender pays for the one before it.
    side.database.query("CHECKPOINT")
    figures = send(seconds=seconds)
    acknowledged, stored = figures.count * readings_each, count(side) - before
    if stored != acknowledged:
        raise Failed(f"{acknowledged} readings were acknowledged, {stored} are stored.")
    return replace(figures, count=acknowledged, rate=figures.rate * readings_each)


def count(side: Side) -> int:
    return side.database.query(f"SELECT count(*) FROM {side.table}")[0][0]

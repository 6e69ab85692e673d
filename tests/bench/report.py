"""Report of ingestion: medians over the rounds, ratios within each round, and their targets."""

import os
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.bench.load import Figures
from tests.deploy.lock_files import locked

LOCK = Path(__file__).with_name("requirements.lock")
INTRODUCTION = """\
# Benchmarks

`make bench` writes this page. It starts the portal and a peer, which is what one would build instead, side
by side on one machine and one PostgreSQL with its default durability. Both get the same readings in turn.

- **gate**: the portal, `manage.py web` with 2 processes. Credentials are checked; an answer means
  committed.
- **REST view**: the portal again, with requests that the gate passes on to Django REST framework.
- **peer**: FastAPI, SQLAlchemy (asyncio) and asyncpg under uvicorn (uvloop, httptools) with 2 processes. It
  looks up the device, inserts, commits; batches use the session's `insert()`. Its table has an identity
  key, a foreign key, and the same index on device and time as the portal's. It checks no credentials. [Its
  code](../tests/bench/peer.py).
- **pgbench**: one-row inserts into the portal's table, prepared, 64 clients, no web server.
- **psql COPY**: one stream of text into the portal's table.

Readings come from 200 devices. Batches have 1,000 readings and come over 4 and 16 connections. The load
generator runs on the same machine, and all figures include it. “1000 a second” is sent evenly, whether the
server is fast enough or not: the rate is the number accepted, and latencies count from the time when a
request was due. All others are measured by wrk, which sends the next request when it has an answer. In each
round every contender takes one turn, in a shuffled order, with all earlier writes on disk and an empty
table, except for the measure of growth. After each turn the rows stored must be exactly those acknowledged,
and every answer 201; otherwise there is no result.

Figures are medians over the rounds. Absolute figures drift with the machine. A ratio compares two figures
of the same round and is more reliable.
"""

# Separates the parts on ingestion and on statistics, which separate runs write.
DIVIDER = "\n<!-- statistics -->\n"

Rounds = Sequence[Mapping[str, Figures]]


@dataclass(frozen=True)
class Target:
    """A ratio of two contenders' figures in the same round, and the bound that its median must reach."""

    of: str
    to: str
    bound: float
    figure: str = "rate"

    @property
    def name(self) -> str:
        return f"{self.of} / {self.to}" + ("" if self.figure == "rate" else f", {self.figure}")

    @property
    def is_upper(self) -> bool:
        """True if the bound is an upper one: latencies should be small, rates large."""
        return self.figure != "rate"

    def ratios(self, rounds: Rounds) -> list[float]:
        return [getattr(each[self.of], self.figure) / getattr(each[self.to], self.figure) for each in rounds]

    def is_reached(self, ratio: float) -> bool:
        return ratio <= self.bound if self.is_upper else ratio >= self.bound


def targets(names: Collection[str]) -> list[Target]:
    """The targets whose contenders took part."""
    at = [f"{connections} connections" for connections in (16, 64, 256)]
    of_batches = [f"batches, {connections} connections" for connections in (4, 16)]
    grown = next((name for name in names if name.endswith("rows before")), "")
    found = [
        *(Target(f"gate, {c}", f"peer, {c}", bound) for c, bound in zip(at, (6, 15, 20), strict=True)),
        *(Target(f"gate, {c}", f"peer, {c}", 0.2, "p99") for c in at[1:]),
        Target("gate, 64 connections", "pgbench, 64 clients", 0.9),
        Target(grown, "gate, 64 connections", 0.9),
        *(Target(f"REST view, {c}", f"peer, {c}", 2) for c in at),
        *(Target(f"gate, {batches}", "psql COPY", 0.9) for batches in of_batches),
        *(Target(f"REST view, {batches}", "psql COPY", 0.7) for batches in of_batches),
        *(Target(f"REST view, {batches}", f"peer, {batches}", 4) for batches in of_batches),
    ]
    return [target for target in found if target.of in names]


def document(rounds: Rounds, run: Mapping[str, str]) -> str:
    """The first part of docs/benchmarks.md; `run` holds facts on this run."""
    facts = "\n".join(f"- {name}: {value}" for name, value in run.items())
    return f"{INTRODUCTION}\n## The last run\n\n{facts}\n\n{tables(rounds)}"


def write_part(path: Path, text: str, *, is_first: bool) -> None:
    """Replace one of the document's two parts, ingestion or statistics, and keep the other."""
    parts = path.read_text().split(DIVIDER) if path.exists() else [""]
    parts = [*parts, ""][:2]
    parts[0 if is_first else 1] = text
    path.write_text(DIVIDER.join(parts) if parts[1] else parts[0])


def circumstances(postgres: str, load_before: float) -> dict[str, str]:
    """Date, machine and versions of a run."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    peer = {package.name: package.version for package in locked(LOCK)}
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}",
        "load average before (1 minute)": f"{load_before:.1f}",
        "both": f"Python {platform.python_version()}, PostgreSQL {postgres}",
        "portal": ", ".join(
            f"{name} {version(name)}" for name in ("uvicorn", "django", "djangorestframework")
        ),
        "peer": ", ".join(f"{name} {peer[name]}" for name in ("uvicorn", "fastapi", "sqlalchemy", "asyncpg")),
    }


def processor() -> str:
    """The processor's name on Linux, elsewhere its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def tables(rounds: Rounds) -> str:
    """The tables of ratios and figures, in Markdown."""
    return f"{ratios_table(rounds)}\n\n{figures_table(rounds)}\n"


def ratios_table(rounds: Rounds) -> str:
    rows = []
    for target in targets(rounds[0]):
        ratios = target.ratios(rounds)
        rows.append(
            [
                target.name,
                f"{median(ratios):.2f}",
                f"{min(ratios):.2f} – {max(ratios):.2f}",
                f"{'≤' if target.is_upper else '≥'} {target.bound:g}",
                "reached" if target.is_reached(median(ratios)) else "**not reached**",
            ]
        )
    return table(["ratio", "median", "lowest – highest", "target", ""], rows)


def figures_table(rounds: Rounds) -> str:
    rows = []
    for name in rounds[0]:
        of_name = [each[name] for each in rounds]
        latencies = [middle(getattr(each, figure) for each in of_name) for figure in ("mean", "p50", "p99")]
        rows.append([name, f"{median(each.rate for each in of_name):,.0f}", *latencies])
    return table(["", "readings/s", "mean ms", "p50 ms", "p99 ms"], rows)


def middle(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}" if known else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns except the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

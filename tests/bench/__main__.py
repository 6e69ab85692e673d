"""`make bench`: starts the portal and the peer, lets them take turns, and prints the figures.

Variables: ROUNDS (5), SECONDS per turn (5), GROWTH (readings stored before the measurement of growth,
20000000; 0 skips it). MODE=short runs one quick round, to check that the bench works. A full run writes
docs/benchmarks.md.

MODE=statistics measures only statistics, with ROUNDS (5) and SIZES (1000000,10000000), and writes its own
section of docs/benchmarks.md and the plot. A long run adds the sizes 31536000, a year of a reading a
second, and 100000000, and needs 20 GB of disk.

MODE=cache prints what the cache in Redis saves, with ROUNDS (20).
"""

import os
import random
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from config.demo.data_folder import ServersError
from config.demo.embedded import servers
from config.supervisor import GaveUp, Supervisor
from tests.bench import contenders, http_analysis, redis_cache, report, sides
from tests.bench.contenders import Contender, Sample
from tests.bench.load import Failed, Figures

DOCUMENT = sides.ROOT / "docs" / "benchmarks.md"
PLOT = sides.ROOT / "docs" / "benchmarks-statistics.svg"
DEFAULT_SIZES = "1000000,10000000"
DEVICES = 200
WARM_UP_SECONDS = 1
CACHE_ROUNDS = 20
FULL_ROUNDS, FULL_SECONDS = 5, 3
# PostgreSQL's default is too low for two portals, the peer and pgbench together.
MAX_CONNECTIONS = 300


@dataclass(frozen=True)
class Options:
    rounds: int = 5
    seconds: int = 5
    growth: int = 20_000_000

    @classmethod
    def read(cls) -> Self:
        options = cls(1, 1, 0) if os.environ.get("MODE") == "short" else cls()
        given = {name: os.environ.get(name.upper()) for name in ("rounds", "seconds", "growth")}
        return cls(**{name: int(value or getattr(options, name)) for name, value in given.items()})

    @property
    def is_full(self) -> bool:
        return self.rounds >= FULL_ROUNDS and self.seconds >= FULL_SECONDS and self.growth > 0

    def __str__(self) -> str:
        return f"make bench ROUNDS={self.rounds} SECONDS={self.seconds} GROWTH={self.growth}"


def main() -> None:
    # Like Ctrl-C: all processes and files are cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Never load servers given by the environment.
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    try:
        with tempfile.TemporaryDirectory(prefix="plumbline-bench-") as name:
            folder = Path(name)
            # Other users may pass through: started by root, PostgreSQL runs as another user.
            folder.chmod(0o711)
            match os.environ.get("MODE"):
                case "statistics":
                    measure_statistics(folder)
                case "cache":
                    measure_cache(folder)
                case _:
                    measure(folder, Options.read())
    except (Failed, GaveUp, ServersError) as error:
        sys.exit(f"The bench failed: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped.")


def measure(folder: Path, options: Options) -> None:
    load_before = os.getloadavg()[0]
    with servers(folder) as urls:
        sides.execute(urls["DATABASE_URL"], f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
    supervisor = Supervisor(folder / "logs")
    with servers(folder, supervisor) as urls:
        parts = start(folder, supervisor, urls, options)
        say("Warming up.")
        one_round(parts, WARM_UP_SECONDS)
        rounds = []
        for number in range(1, options.rounds + 1):
            say(f"Round {number} of {options.rounds}.")
            rounds.append(one_round(parts, options.seconds))
        [(postgres,)] = sides.execute(urls["DATABASE_URL"], "SHOW server_version")
    say(report.tables(rounds))
    if options.is_full:
        run = {"command": f"`{options}`", **report.circumstances(postgres, load_before)}
        DOCUMENT.parent.mkdir(exist_ok=True)
        report.write_part(DOCUMENT, report.document(rounds, run), is_first=True)
        say(f"Written to {DOCUMENT}")


def measure_statistics(folder: Path) -> None:
    rounds = int(os.environ.get("ROUNDS") or Options.rounds)
    sizes = [int(size) for size in (os.environ.get("SIZES") or DEFAULT_SIZES).split(",")]
    load_before = os.getloadavg()[0]
    with servers(folder) as urls:
        sides.set_up_django(urls)
        from tests.bench import statistics, statistics_report  # noqa: PLC0415, Django must be set up before

        outcome = statistics.measure(folder, sizes, rounds, say)
        say("Measuring a small analysis over HTTP.")
        with Supervisor(folder / "http-analysis") as supervisor:
            for seconds in http_analysis.times(supervisor, urls, http_analysis.RUNS):
                outcome.note(http_analysis.HTTP_ANALYSIS, statistics.PORTAL, seconds)
        [(postgres,)] = sides.execute(urls["DATABASE_URL"], "SHOW server_version")
    say(statistics_report.tables(outcome, sizes))
    command = f"`make bench MODE=statistics ROUNDS={rounds} SIZES={','.join(map(str, sizes))}`"
    run = {"command": command, **report.circumstances(postgres, load_before)}
    PLOT.write_text(statistics_report.plot(outcome, sizes))
    report.write_part(DOCUMENT, statistics_report.section(outcome, sizes, run, PLOT.name), is_first=False)
    say(f"Written to {DOCUMENT} and {PLOT}")


def measure_cache(folder: Path) -> None:
    load_before = os.getloadavg()[0]
    supervisor = Supervisor(folder / "logs")
    with servers(folder, supervisor) as urls:
        say(redis_cache.table(supervisor, urls, int(os.environ.get("ROUNDS") or CACHE_ROUNDS)))
    say(f"Load before: {load_before:.1f}")


def start(
    folder: Path, supervisor: Supervisor, urls: Mapping[str, str], options: Options
) -> dict[str, Contender]:
    say("Starting the portal and the peer.")
    portal = sides.start_portal("portal", supervisor, urls, devices=DEVICES)
    peer = sides.start_peer(supervisor, urls, ids=list(portal.devices))
    sample = Sample(folder, DEVICES)
    parts = contenders.contenders(portal, peer, sample)
    if options.growth:
        say(f"Starting a portal with {options.growth:,} readings.")
        grown = sides.start_portal("grown", supervisor, urls, devices=DEVICES)
        parts |= contenders.grown_contenders(grown, sample, options.growth)
    return parts


def one_round(parts: Mapping[str, Contender], seconds: float) -> dict[str, Figures]:
    """Give each contender a turn, in random order. Raises Failed."""
    figures = {}
    for name in random.sample(list(parts), len(parts)):
        try:
            figures[name] = parts[name](seconds)
        except Failed as error:
            raise Failed(f"{name}: {error}") from error
    return {name: figures[name] for name in parts}


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

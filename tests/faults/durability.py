"""`make faults`: kill -9 PostgreSQL and a web process under load, again and again.

Prints a line for each round; fails if an acknowledged reading is lost or any reading is stored twice.
"""

import sys

from tests.ingestion.test_durability import nothing_is_lost, round_of_kills
from tests.support.portal import Portal
from tests.support.senders import Tally

ROUNDS = 20
COLUMNS = (
    "round",
    "acknowledged",
    "stored",
    "refused",
    "refused but stored",
    "lost",
    "stored twice",
    "answers",
)


def test_rounds_of_kills_lose_nothing(portal: Portal) -> None:
    print_row(COLUMNS)
    tallies: list[Tally] = []
    for number in range(1, ROUNDS + 1):
        tally = round_of_kills(portal)
        tallies.append(tally)
        print_row((number, *tally[:-1], in_words(tally.statuses)))
    print_row(("all", *(sum(column) for column in zip(*(tally[:-1] for tally in tallies), strict=True)), ""))
    assert [tally for tally in tallies if not nothing_is_lost(tally)] == []


def in_words(statuses: dict[int, int]) -> str:
    return ", ".join(f"{count} × {status or 'closed'}" for status, count in statuses.items())


def print_row(cells: tuple) -> None:
    widths = map(len, COLUMNS)
    sys.stdout.write(
        "  ".join(str(cell).rjust(width) for cell, width in zip(cells, widths, strict=True)) + "\n"
    )
    sys.stdout.flush()

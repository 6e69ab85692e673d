"""`make faults`: kill -9 a worker, or the child process that calculates, again and again during a run.

Prints a line for each kill; fails if a run is lost, is stored twice, or is not resumed in time.
"""

import random
import sys
import time
from typing import NamedTuple

import psutil

from tests.calculations.test_flow_calculations import DAYS_OF_2020, ask, calculators, over, row
from tests.support.portal import Person, Portal, eventually

KILLS = 20
RECOVERY_SECONDS = 30
PAUSE_SECONDS = 2.0
SEED = 20_261_121
COLUMNS = ("kill", "of", "resumed after", "attempts", "rows", "blocks", "same as undisturbed")


class Outcome(NamedTuple):
    """A killed run: seconds until it was resumed, and its result compared with an undisturbed one."""

    seconds: float
    attempts: int
    rows: int
    blocks: int
    is_same: bool


def test_killed_runs_are_finished_once(portal: Portal) -> None:
    owner = portal.new_user()
    undisturbed = over(portal, owner, ask(portal, owner, seed=SEED))["result"]
    print_row(COLUMNS)
    outcomes = []
    for number in range(1, KILLS + 1):
        victim = "child" if number % 2 else "worker"
        outcome = one_kill(portal, owner, victim, undisturbed)
        outcomes.append(outcome)
        print_row((number, victim, f"{outcome.seconds:.1f} s", *outcome[1:]))
    assert [outcome for outcome in outcomes if not is_whole(outcome)] == []


def one_kill(portal: Portal, owner: Person, victim: str, undisturbed: list) -> Outcome:
    """Kill a run at a random moment; the run queued behind it must finish as well."""
    run_id = ask(portal, owner, pause=PAUSE_SECONDS, seed=SEED)
    behind = ask(portal, owner)
    eventually(lambda: row(portal, run_id)[0] == "running")
    time.sleep(random.uniform(0, PAUSE_SECONDS * 0.8))
    killed = time.monotonic()
    kill(portal, victim)
    eventually(lambda: row(portal, run_id)[1] == 2)
    seconds = time.monotonic() - killed
    run = over(portal, owner, run_id)
    assert len(over(portal, owner, behind)["result"]) == DAYS_OF_2020
    [(blocks,)] = portal.query(
        "SELECT count(*) FROM analytics_calculationrows WHERE calculation_id = %s", run_id
    )
    rows = run["result"] or []
    return Outcome(seconds, run["attempts"], len(rows), blocks, rows == undisturbed)


def kill(portal: Portal, victim: str) -> None:
    if victim == "worker":
        portal.kill("worker")
        portal.start("worker")
        return
    [process] = calculators(portal)
    try:
        process.kill()
    except psutil.NoSuchProcess as error:
        raise AssertionError("The run ended before it could be killed.") from error


def is_whole(outcome: Outcome) -> bool:
    return outcome.seconds < RECOVERY_SECONDS and outcome[1:] == (2, DAYS_OF_2020, 1, True)


def print_row(cells: tuple) -> None:
    widths = map(len, COLUMNS)
    sys.stdout.write(
        "  ".join(str(cell).rjust(width) for cell, width in zip(cells, widths, strict=True)) + "\n"
    )
    sys.stdout.flush()

"""`make faults`: kill -9 of a worker and of the process in it that calculates, again and again, in mid-run.

Prints a line for each kill; fails if a run is lost, doubled, or not taken up again in time.
"""

import random
import sys
import time
from typing import NamedTuple

import psutil

from tests.calculations.test_flow_calculations import (
    DAYS_OF_2020,
    RECOVERY_SECONDS,
    ask,
    calculators,
    over,
    row,
)
from tests.support.portal import Person, Portal, eventually

KILLS = 20
PAUSE_SECONDS = 2.0
SEED = 20_261_121
COLUMNS = ("kill", "of", "taken up after", "attempts", "rows", "blocks", "same as undisturbed")


class Story(NamedTuple):
    seconds: float
    attempts: int
    rows: int
    blocks: int
    is_same: bool


def test_killed_runs_are_finished_once(portal: Portal) -> None:
    owner = portal.new_user()
    undisturbed = over(portal, owner, ask(portal, owner, seed=SEED))["result"]
    print_row(COLUMNS)
    stories = []
    for number in range(1, KILLS + 1):
        victim = "child" if number % 2 else "worker"
        story = one_kill(portal, owner, victim, undisturbed)
        stories.append(story)
        print_row((number, victim, f"{story.seconds:.1f} s", *story[1:]))
    assert [story for story in stories if not is_whole(story)] == []


def one_kill(portal: Portal, owner: Person, victim: str, undisturbed: list) -> Story:
    """A run is killed somewhere in its course; another waits behind it and must not suffer."""
    run_id = ask(portal, owner, pause=PAUSE_SECONDS, seed=SEED)
    behind = ask(portal, owner)
    eventually(lambda: row(portal, run_id)[0] == "running", seconds=RECOVERY_SECONDS)
    time.sleep(random.uniform(0, PAUSE_SECONDS * 0.8))
    killed = time.monotonic()
    kill(portal, victim)
    eventually(lambda: row(portal, run_id)[1] == 2, seconds=2 * RECOVERY_SECONDS)
    seconds = time.monotonic() - killed
    run = over(portal, owner, run_id)
    assert len(over(portal, owner, behind)["result"]) == DAYS_OF_2020
    [(blocks,)] = portal.query(
        "SELECT count(*) FROM analytics_calculationrows WHERE calculation_id = %s", run_id
    )
    rows = run["result"] or []
    return Story(seconds, run["attempts"], len(rows), blocks, rows == undisturbed)


def kill(portal: Portal, victim: str) -> None:
    if victim == "worker":
        portal.kill("worker")
        portal.start("worker")
        return
    [process] = calculators(portal)
    try:
        process.kill()
    except psutil.NoSuchProcess as error:
        raise AssertionError("The run was over before it could be killed.") from error


def is_whole(story: Story) -> bool:
    return story.seconds < RECOVERY_SECONDS and story[1:] == (2, DAYS_OF_2020, 1, True)


def print_row(cells: tuple) -> None:
    widths = map(len, COLUMNS)
    sys.stdout.write(
        "  ".join(str(cell).rjust(width) for cell, width in zip(cells, widths, strict=True)) + "\n"
    )
    sys.stdout.flush()

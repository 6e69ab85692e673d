"""kill -9 under load, the short version; `make faults` does many rounds of the same."""

from tests.support.portal import Portal, eventually
from tests.support.senders import (
    Load,
    Tally,
    all_web_processes_answer,
    bring_postgres_back,
    kill_postgres,
    kill_web_process,
)

ROUNDS = 2
# Acknowledged requests between two kills.
REQUESTS = 300


def round_of_kills(portal: Portal) -> Tally:
    """A load; meanwhile PostgreSQL is killed and started again, then a web process is killed."""
    load = Load(portal)
    with load.running():
        acknowledge_more(load)
        kill_postgres(portal)
        eventually(lambda: load.statuses[503])
        bring_postgres_back(portal)
        acknowledge_more(load)
        kill_web_process(portal)
        acknowledge_more(load)
    eventually(lambda: all_web_processes_answer(portal))
    return load.tally()


def acknowledge_more(load: Load) -> None:
    enough = load.statuses[201] + REQUESTS
    eventually(lambda: load.statuses[201] >= enough)


def nothing_is_lost(tally: Tally) -> bool:
    """Every acknowledged reading is stored once, and nobody was told anything but 201, 503 or nothing."""
    return (tally.lost, tally.doubled) == (0, 0) and set(tally.statuses) <= {201, 503, 0}


def test_acknowledged_readings_survive_kills_and_are_stored_once(portal: Portal) -> None:
    tallies = [round_of_kills(portal) for _ in range(ROUNDS)]
    for tally in tallies:
        assert nothing_is_lost(tally), tally
        assert tally.statuses[503], tally
    # A connection was closed on a request that was under way.
    assert any(tally.statuses.get(0) for tally in tallies)

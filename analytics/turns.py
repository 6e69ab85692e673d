"""Whose run is next. People take turns, and each has only so many open runs and so large results.

A run gets the number of its turn when it is requested. Runs are claimed by turn, then by the time of their
request. The first run of a person gets the turn after the one that is being worked on, and each further one
the turn after their last: a person with one run waits behind at most one run of each other person.
"""

from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

from analytics.models import Analysis, Calculation, Run, Status
from devices.locks import AdvisoryLock
from users.limits import LimitReached

# In this order runs are claimed. A run that is taken up again keeps its turn.
ORDER = ("turn", "asked_at", "id")
WAIT_SECONDS = 60
KINDS: tuple[type[Run], ...] = (Analysis, Calculation)
MEBIBYTE = 1024 * 1024
# For the OpenAPI document: what a view that asks for a run may answer.
TOO_MANY_RUNS = "Too many of your runs are queued or running; see `Retry-After`."
RESULTS_TOO_LARGE = "The results of your runs take as much as they may: delete some."
# Separate queries for the indexes: of open runs by person, of queued ones by turn, of results by person.
COUNT_OPEN = "SELECT count(*) FROM {table} WHERE {person} AND status IN ('queued', 'running')"
# Of an index alone: somebody with a million runs waits a tenth of a second.
SUM_RESULTS = "SELECT coalesce(sum(result_bytes), 0) FROM {table} WHERE {person}"
NEXT_TURN = """
    SELECT 1 + greatest(
        0,
        (SELECT max(turn) FROM {table} WHERE status = 'running'),
        (SELECT min(turn) - 1 FROM {table} WHERE status = 'queued'),
        (SELECT max(turn) FROM {table} WHERE {person} AND status = 'queued')
    )
"""


def take_turn(run: Run, *, most_open: int) -> None:
    """Set the run's turn, in the transaction that will store it.

    Raises LimitReached if its person has `most_open` open runs already, or too large results.
    """
    person = "asked_by_id IS NULL" if run.asked_by_id is None else "asked_by_id = %(person)s"
    parameters = {"person": run.asked_by_id or 0, "lock": AdvisoryLock.PERSONS_RUNS}
    with connection.cursor() as cursor:
        # Until the commit: two simultaneous requests of a person do not count the same runs.
        cursor.execute("SELECT pg_advisory_xact_lock(%(lock)s, %(person)s)", parameters)
        cursor.execute(statement_for(type(run), person), parameters)
        open_runs, run.turn, result_bytes = cursor.fetchone()
    require_room_for_result(int(result_bytes))
    if most_open and open_runs >= most_open:
        raise LimitReached(
            f"{open_runs} of your runs are queued or running; at most {most_open} may be (OPEN_RUNS)."
            " Wait until one has ended, or cancel one.",
            WAIT_SECONDS,
        )


def require_room_for_result(taken: int) -> None:
    """Require that stored results of so many bytes are fewer than a person may have."""
    most = settings.RESULT_MEBIBYTES
    if taken >= most * MEBIBYTE > 0:
        raise LimitReached(
            f"The results of your analyses and calculations take {taken // MEBIBYTE} MiB, and may take {most}"
            " MiB (RESULT_MEBIBYTES). Delete some."
        )


def statement_for(model: type[Run], person: str) -> str:
    """SQL for the person's open runs of both kinds, the next turn of this kind, and the results' bytes."""
    counts = [COUNT_OPEN.format(table=table(each), person=person) for each in KINDS]
    turn = NEXT_TURN.format(table=table(model), person=person)
    sums = [SUM_RESULTS.format(table=table(each), person=person) for each in KINDS]
    return f"SELECT ({counts[0]}) + ({counts[1]}), ({turn}), ({sums[0]}) + ({sums[1]})"


def table(model: type[Run]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def most_open_runs(*, only_reads: bool) -> int:
    """Open runs that a person may have; a token that only reads leaves half of them to its holder."""
    return -(-settings.OPEN_RUNS // 2) if only_reads else settings.OPEN_RUNS


def positions(model: type[Run]) -> dict[UUID, int]:
    """Positions of the queued runs in the order of their turns, from 1, by id."""
    queued: QuerySet[Run] = model._default_manager.filter(status=Status.QUEUED)
    order = [F(name).asc() for name in ORDER]
    return dict(queued.annotate(place=Window(RowNumber(), order_by=order)).values_list("pk", "place"))

"""Each dataset of a person is answered from the index, however many others have logs."""

import pytest
from django.db import connections

from analytics.activity.storage import postgresql
from tests.support import factories
from tests.support.factories import NOON

pytestmark = [pytest.mark.integration, pytest.mark.django_db(databases=["default", "activity"])]
PEOPLE, LOGS = 2000, 100_000
FILL = """
    INSERT INTO activity_log (event_id, user_id, event_type_id, at, object_id)
    SELECT gen_random_uuid(), 1 + n %% %(people)s, kind, %(now)s::timestamptz - n * interval '1 minute',
        CASE WHEN kind > 2 THEN n %% 500 + 1 END
    FROM (SELECT n, (n / %(people)s) %% 5 + 1 AS kind FROM generate_series(1, %(logs)s) AS n) AS made
"""
MONTH = {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
EVER = {"start": None, "end": None}


@pytest.mark.parametrize("period", [EVER, MONTH])
def test_datasets_are_answered_from_the_index(period):
    factories.event_types()
    with connections["activity"].cursor() as cursor:
        cursor.execute(FILL, {"people": PEOPLE, "logs": LOGS, "now": NOON})
        cursor.execute("ANALYZE activity_log")
        asked = postgresql.NUMBERS | period | {"user": 77, "zone": "Europe/Berlin"}
        for statement in (postgresql.COMMENTS, postgresql.GENERAL, postgresql.COUNTS):
            cursor.execute(f"EXPLAIN {statement}", asked)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "log_of_user" in plan
            assert "Seq Scan" not in plan
            # User, kind and the bounds of the period: nothing else is read to be thrown away.
            assert "Filter" not in plan

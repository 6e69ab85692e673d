"""The functions that change partitions with the owner's rights take names of partitions alone."""

import pytest
from django.db import DatabaseError, connection, transaction

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["users_user", "devices_reading", "devices_reading_2026; --", None])
@pytest.mark.parametrize(
    "call",
    [
        "devices_create_partition(%s)",
        "devices_attach_partition(%s, '2090-01-01', '2090-02-01')",
        "devices_detach_partition(%s)",
    ],
)
def test_other_names_are_refused(call, name):
    with (
        connection.cursor() as cursor,
        pytest.raises(DatabaseError, match="Not the name of a partition"),
        transaction.atomic(),
    ):
        cursor.execute(f"SELECT {call}", [name])

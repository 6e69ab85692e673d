"""Partitions of readings that are far ahead: one for all of them, until their months come near."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from devices.storage.postgresql import partitions
from tests.support import factories

pytestmark = pytest.mark.django_db
# One reading in each month of this century to come.
FAR = [datetime(year, month, 15, tzinfo=UTC) for year in range(2027, 2100) for month in range(1, 13)]


def stored_by_partition() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM devices_reading GROUP BY 1")
        return dict(cursor.fetchall())


def names() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'devices_reading'::regclass"
        )
        return {name for (name,) in cursor.fetchall()}


@pytest.fixture
def _far() -> None:
    sender = factories.device()
    factories.append((sender.pk, time, (1.0, 2.0, 3.0)) for time in FAR)


def test_one_batch_with_odd_times_makes_few_partitions(settings: Any) -> None:
    before, sender = names(), factories.device()
    factories.append((sender.pk, time, (1.0, 2.0, 3.0)) for time in FAR)
    assert len(names() - before) <= settings.PARTITION_MONTHS + 1
    found = stored_by_partition()
    assert sum(found.values()) == len(FAR)
    assert found[partitions.BEYOND] > len(FAR) - settings.PARTITION_MONTHS - 1


@pytest.mark.usefixtures("_far")
def test_what_comes_near_moves_to_partitions_of_its_own(settings: Any) -> None:
    start = partitions.start_of_beyond()
    assert start == partitions.horizon(timezone.now())
    partitions.make_coming_partitions(timezone.now())
    assert partitions.start_of_beyond() == start
    later = partitions.months_later(start, 1)
    made = partitions.make_coming_partitions(later)
    assert f"devices_reading_{start:%Y_%m}" in made
    assert len(made) == settings.PARTITION_MONTHS + 1
    assert partitions.start_of_beyond() == partitions.horizon(later)
    found = stored_by_partition()
    assert sum(found.values()) == len(FAR)
    assert all(found[name] == 1 for name in made)
    factories.append([(factories.device().pk, FAR[-1], (1.0, 2.0, 3.0))])
    assert partitions.make_coming_partitions(later) == []


@pytest.mark.usefixtures("_far")
def test_at_the_end_of_the_months_there_is_nothing_beyond() -> None:
    partitions.make_coming_partitions(datetime(2099, 6, 1, tzinfo=UTC))
    assert partitions.start_of_beyond() is None
    assert sum(stored_by_partition().values()) == len(FAR)


def test_months_that_an_earlier_version_made_stay(settings: Any) -> None:
    far = datetime(2050, 6, 1, tzinfo=UTC)
    partitions.make_partition("devices_reading_2050_06", far, partitions.month_after(far))
    sender = factories.device()
    times = [
        datetime(2050, 6, 2, tzinfo=UTC),
        datetime(2060, 1, 1, tzinfo=UTC),
        datetime(2040, 1, 1, tzinfo=UTC),
    ]
    for time in times:
        factories.append([(sender.pk, time, (1.0, 2.0, 3.0))])
    assert partitions.start_of_beyond() == datetime(2050, 7, 1, tzinfo=UTC)
    assert stored_by_partition() == {
        "devices_reading_2050_06": 1,
        partitions.BEYOND: 1,
        # In a gap between partitions that were there: as before.
        "devices_reading_2040_01": 1,
    }

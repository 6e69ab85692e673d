"""Which readings are stored, and taking some back: the same answers of all storages."""

from datetime import timedelta
from itertools import count

import pytest

from devices import storage
from devices.models import Change
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.factories import NOON

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
numbers = count(2_000_000)


def rows(*readings) -> Rows:
    parts = [
        row_codec.encode_row(device, unix_microseconds(time), values) for device, time, values in readings
    ]
    return Rows(b"".join(part.payload for part in parts), [time for part in parts for time in part.times])


def stored(device_id):
    page = storage.current().page([device_id], Period(), limit=10_000)
    return sorted((row.time, row.values) for row in page)


def test_what_is_present(kept):
    pump, fan = next(numbers), next(numbers)
    years = [NOON.replace(year=year) for year in (1990, 2024, 2026)]
    factories.append((pump, time, [1.5, -0.0]) for time in years)
    asked = [
        *((pump, time, [1.5, 0.0]) for time in years),
        (pump, NOON, [1.5, 0.5]),
        (pump, NOON + SECOND, [1.5, 0.0]),
        (fan, NOON, [1.5, 0.0]),
        (pump, NOON, [1.5]),
        (pump, NOON, [1.5, 0.0]),
    ]
    assert kept.present(rows(*asked)).tolist() == [True] * 3 + [False] * 4 + [True]
    assert kept.present(Rows(b"", ())).tolist() == []


def test_one_for_one_is_taken_back(kept):
    pump, fan = next(numbers), next(numbers)
    one, two = (pump, NOON, [1.0, 2.0]), (pump, NOON + SECOND, [1.0, 2.0])
    other, wide = (pump, NOON, [1.0, 3.0]), (pump, NOON, [1.0])
    factories.append([one, one, one, two, other, wide, (fan, NOON, [1.0, 2.0])])
    assert kept.take_back(rows(one, two, one, (fan, NOON + SECOND, [1.0, 2.0]))) == 3
    assert stored(pump) == sorted([(NOON, [1.0, 2.0]), (NOON, [1.0, 3.0]), (NOON, [1.0])])
    assert stored(fan) == [(NOON, [1.0, 2.0])]
    assert kept.take_back(rows(two)) == 0
    assert kept.take_back(Rows(b"", ())) == 0


def test_many_of_many_months_are_taken_back_and_the_change_log_names_them(kept):
    pump = next(numbers)
    times = [NOON.replace(year=2020) + i * timedelta(hours=19) for i in range(1200)]
    factories.append((pump, time, [float(i)]) for i, time in enumerate(times))
    Change.objects.all().delete()
    mine = rows(*((pump, time, [float(i)]) for i, time in enumerate(times) if i % 2))
    assert kept.take_back(mine) == 600
    assert [values for _, values in stored(pump)] == [[float(i)] for i in range(0, 1200, 2)]
    [entry] = Change.objects.filter(device_id=pump).values_list("first_time")
    assert entry == (times[1],)

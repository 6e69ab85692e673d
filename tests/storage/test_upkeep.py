from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command

from config.celery import app
from devices import tasks
from devices.locks import AdvisoryLock, single_run
from devices.maintenance import LATE_REQUESTS, erase_readings
from devices.models import Device, DeviceKey, Erasure
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.concurrency import another_connection, held_by_another

pytestmark = pytest.mark.django_db
NOW = factories.NOON


def is_free(lock: AdvisoryLock) -> bool:
    """Whether another connection could take the advisory lock."""
    with another_connection() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        return cursor.fetchone()[0]


def erased_device(rows: int = 3) -> int:
    """The number of a device that was erased at `NOW`, with so many readings left behind."""
    device = factories.device()
    number = device.pk
    factories.readings(device, [(1.0, 2.0, 3.0)] * rows)
    device.erase()
    Erasure.objects.update(asked_at=NOW)
    return number


def left(device_id: int) -> int:
    return readings_table.count([device_id], Period())


class TestSingleRun:
    def test_who_comes_first_gets_the_lock_and_gives_it_back(self):
        with single_run(AdvisoryLock.ERASE_READINGS) as is_ours:
            assert is_ours
            assert not is_free(AdvisoryLock.ERASE_READINGS)
        assert is_free(AdvisoryLock.ERASE_READINGS)

    def test_it_is_given_back_after_an_error_too(self):
        with pytest.raises(ZeroDivisionError), single_run(AdvisoryLock.ERASE_READINGS):
            raise ZeroDivisionError
        assert is_free(AdvisoryLock.ERASE_READINGS)

    def test_who_comes_second_is_told_so(self):
        with held_by_another(AdvisoryLock.ERASE_READINGS), single_run(AdvisoryLock.ERASE_READINGS) as is_ours:
            assert not is_ours

    def test_other_jobs_go_on(self):
        with held_by_another(AdvisoryLock.ERASE_READINGS), single_run(AdvisoryLock.FORGET_KEYS) as is_ours:
            assert is_ours


class TestErasing:
    def test_an_erased_device_is_gone_at_once_and_its_readings_with_the_next_run(self):
        number = erased_device()
        assert (Device.objects.count(), left(number)) == (0, 3)
        assert erase_readings(NOW) == 3
        assert left(number) == 0

    def test_a_second_run_at_the_same_time_does_nothing(self):
        number = erased_device()
        with held_by_another(AdvisoryLock.ERASE_READINGS):
            assert erase_readings(NOW) == 0
        assert left(number) == 3

    def test_a_reading_that_was_under_way_is_erased_too(self):
        number = erased_device()
        erase_readings(NOW)
        factories.append([(number, NOW, [1.0])])
        assert erase_readings(NOW + LATE_REQUESTS) == 1
        assert left(number) == 0

    def test_after_ten_minutes_nothing_more_can_come(self):
        erased_device()
        erase_readings(NOW + LATE_REQUESTS)
        assert Erasure.objects.exists()
        erase_readings(NOW + LATE_REQUESTS + timedelta(microseconds=1))
        assert not Erasure.objects.exists()
        assert erase_readings(NOW) == 0

    def test_other_devices_keep_their_readings_and_keys(self):
        other = factories.device()
        factories.readings(other, [(1.0, 2.0, 3.0)])
        DeviceKey.issue(device=other)
        erased_device()
        erase_readings(NOW)
        assert (left(other.pk), other.keys.count()) == (1, 1)

    def test_the_number_of_an_erased_device_is_not_given_to_another(self):
        number = erased_device()
        assert factories.device().pk > number


class TestJobs:
    def test_beat_knows_the_jobs_that_it_starts(self):
        app.loader.import_default_modules()
        assert {job["task"] for job in settings.CELERY_BEAT_SCHEDULE.values()} <= set(app.tasks)

    def test_the_tasks_do_the_jobs(self):
        number = erased_device()
        assert tasks.erase_readings() == 3
        assert left(number) == 0
        tasks.make_partitions()
        assert tasks.make_partitions() == []

    def test_the_command_says_which_partitions_it_made(self, capsys):
        call_command("make_partitions")
        made = capsys.readouterr().out.split()
        assert 1 <= len(made) <= 4
        assert all(name.startswith("devices_reading_20") for name in made)
        call_command("make_partitions")
        assert capsys.readouterr().out == "Nothing to do.\n"

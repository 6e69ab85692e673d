"""Deleted readings stay deleted while others are posted."""

import pytest
from django.utils import timezone

from devices import maintenance, storage
from devices.models import Erasure
from tests.storage.clickhouse.portal import EVER, MINUTE, flushed, number_of, requests_of
from tests.support import factories
from tests.support.concurrency import at_the_same_time

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]


def test_an_erased_device_keeps_nothing_of_what_was_posted_meanwhile(device):
    request, other = requests_of(device, None)[0], factories.device()
    flushed([request])
    factories.readings(other, [(1, 2, 3)])
    pk = device.pk
    device.erase()
    now = timezone.now()
    assert maintenance.erase_readings(now) == 1
    # This reading was accepted before the deletion.
    flushed([request])
    assert maintenance.erase_readings(now + MINUTE) == 1
    assert maintenance.erase_readings(now + 11 * MINUTE) == 0
    assert not Erasure.objects.exists()
    assert storage.current().counts([pk, other.pk], EVER) == {pk: 0, other.pk: 1}


def test_posts_and_deletions_at_the_same_time_leave_what_came_after_the_last(device):
    request = requests_of(device, None)[0]

    def post_and_clear() -> None:
        for _ in range(3):
            flushed([request])
            storage.current().clear(device.pk)

    at_the_same_time(post_and_clear, times=3)
    assert number_of(device) == 0
    flushed([request])
    assert number_of(device) == 1

from celery import shared_task
from django.utils import timezone

from devices import maintenance, storage
from devices.access import credential_changes
from devices.storage.postgresql import segment_schedule

# Building segments takes at most this much of each minute, and leaves the rest to other jobs.
BUILD_SECONDS = 30


@shared_task(ignore_result=True)
def make_partitions() -> list[str]:
    return storage.current().prepare(timezone.now())


@shared_task(ignore_result=True)
def erase_readings() -> int:
    now = timezone.now()
    maintenance.empty_bin(now)
    return maintenance.erase_readings(now)


@shared_task(ignore_result=True)
def forget_keys() -> int:
    return maintenance.forget_keys(timezone.now())


@shared_task(ignore_result=True)
def build_rollups() -> int:
    return storage.current().build(BUILD_SECONDS)


@shared_task(ignore_result=True)
def tidy_rollups() -> int:
    return segment_schedule.sweep() + maintenance.compact_changes() + credential_changes.forget_old()

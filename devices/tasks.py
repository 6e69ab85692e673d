from celery import shared_task
from django.utils import timezone

from devices import changes, rollups, storage, upkeep

# Of each minute: the rest is for others.
BUILD_SECONDS = 30


@shared_task(ignore_result=True)
def make_partitions() -> list[str]:
    return storage.current().prepare(timezone.now())


@shared_task(ignore_result=True)
def erase_readings() -> int:
    return upkeep.erase_readings(timezone.now())


@shared_task(ignore_result=True)
def forget_keys() -> int:
    return upkeep.forget_keys(timezone.now())


@shared_task(ignore_result=True)
def build_rollups() -> int:
    return storage.current().build(BUILD_SECONDS)


@shared_task(ignore_result=True)
def tidy_rollups() -> int:
    return rollups.sweep() + upkeep.compact_changes() + changes.forget()

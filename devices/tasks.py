from celery import shared_task
from django.utils import timezone

from devices import upkeep


@shared_task(ignore_result=True)
def make_partitions() -> list[str]:
    return upkeep.make_partitions_ahead(timezone.now())


@shared_task(ignore_result=True)
def erase_readings() -> int:
    return upkeep.erase_readings(timezone.now())


@shared_task(ignore_result=True)
def forget_keys() -> int:
    return upkeep.forget_keys(timezone.now())

from celery import shared_task
from django.conf import settings

from users.trail import models

MOST_BATCHES = 100


@shared_task(ignore_result=True)
def forget_trail() -> int:
    """Delete entries older than TRAIL_DAYS; return their number. What is left waits for the next time."""
    total = 0
    for _ in range(MOST_BATCHES if settings.TRAIL_DAYS else 0):
        forgotten = models.forget(settings.TRAIL_DAYS)
        total += forgotten
        if not forgotten:
            break
    return total

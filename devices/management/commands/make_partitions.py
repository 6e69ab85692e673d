from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from devices import storage


class Command(BaseCommand):
    help = "Make the partitions of the readings table for this month and the three after it."
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        made = storage.current().prepare(timezone.now())
        self.stdout.write("\n".join(made) or "Nothing to do.")

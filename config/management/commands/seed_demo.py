import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from config.demo import data, fleet


class Command(BaseCommand):
    help = "Create the demo data if missing and set the admin's password; `manage.py demo` runs this."
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        if not settings.DEMO:
            raise CommandError("This command runs in demo mode only, because it sets the admin's password.")
        data.admin_with_password(os.environ["DEMO_ADMIN_PASSWORD"])
        data.seed(timezone.now())
        data.seed_activity(timezone.now())
        # What the devices would have sent while the demo was stopped.
        fleet.store_missing_readings(timezone.now())
        fleet.write_agent_keys(settings.DATA / "agent.json")

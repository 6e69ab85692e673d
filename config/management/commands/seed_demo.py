import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from config import demo_data


class Command(BaseCommand):
    help = "Fill an empty portal with demo data. `manage.py demo` runs it at each start."

    def handle(self, **_: Any) -> None:
        if not settings.DEMO:
            raise CommandError("Only in demo mode: it sets the admin's password.")
        demo_data.admin_with_password(os.environ["DEMO_ADMIN_PASSWORD"])
        demo_data.seed(timezone.now())
        demo_data.seed_activity(timezone.now())
        demo_data.hand_key_to_agent(settings.DATA / "agent.json")

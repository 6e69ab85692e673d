from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from analytics.activity import storage as activity
from devices import storage as readings
from devices.storage.interface import StorageUnavailable


class Command(BaseCommand):
    help = "Make the tables in ClickHouse of whatever is kept there. What is there already stays."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--cluster", default="", help="replicated tables on its shards, and distributed ones over them"
        )

    def handle(self, *, cluster: str, **_: Any) -> None:
        kept = []
        if not readings.is_own_table():
            kept.append(("the readings", readings.current()))
        if "activity" not in settings.DATABASES:
            kept.append(("the logs of activity", activity.current()))
        if not kept:
            raise CommandError(
                "Nothing is kept in ClickHouse: set READINGS_URL or ACTIVITY_URL to clickhouse://…"
            )
        try:
            for name, storage in kept:
                storage.create_schema(cluster)
                self.stdout.write(f"ClickHouse is ready for {name}.")
        except (ValueError, StorageUnavailable) as error:
            raise CommandError(str(error)) from error

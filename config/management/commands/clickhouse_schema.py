from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from analytics.activity import storage as activity
from devices import storage as readings
from devices.storage.interface import StorageUnavailable


class Command(BaseCommand):
    help = "Create the tables of readings and activity logs in ClickHouse; existing tables stay as they are."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--cluster",
            default="",
            help="create replicated tables on the shards of this cluster, and distributed tables over them",
        )

    def handle(self, *, cluster: str, **_: Any) -> None:
        # Only ClickHouse's storages have `create_schema`.
        storages: list[tuple[str, Any]] = []
        if not readings.is_own_table():
            storages.append(("the readings", readings.current()))
        if "activity" not in settings.DATABASES:
            storages.append(("the activity logs", activity.current()))
        if not storages:
            raise CommandError(
                "Nothing is stored in ClickHouse: set READINGS_URL or ACTIVITY_URL to clickhouse://…"
            )
        try:
            for name, storage in storages:
                storage.create_schema(cluster)
                self.stdout.write(f"ClickHouse is ready for {name}.")
        except (ValueError, StorageUnavailable) as error:
            raise CommandError(str(error)) from error

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from analytics.activity import storage


class Command(BaseCommand):
    help = "Make the tables in ClickHouse of whatever is kept there. What is there already stays."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--cluster", default="", help="replicated tables on its shards, and distributed ones over them"
        )

    def handle(self, *, cluster: str, **_: Any) -> None:
        if "activity" in settings.DATABASES:
            raise CommandError("Nothing is kept in ClickHouse: set ACTIVITY_URL to clickhouse://…")
        try:
            storage.current().create_schema(cluster)
        except (ValueError, storage.Unavailable) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("ClickHouse is ready for the logs of activity.")

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as MigrateCommand
from django.db import DatabaseError, connections

from config.routers import ALIAS as ACTIVITY
from devices.locks import AdvisoryLock

APP = "activity"


class Command(MigrateCommand):
    help = "Migrate both databases, one process at a time; give up after 10 s of waiting for a table lock."

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database=None)

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        return super().get_check_kwargs(options | {"database": options["database"] or "default"})

    def handle(self, *args: Any, database: str | None, **options: Any) -> None:
        if database is not None:
            with locked(database):
                super().handle(*args, database=database, **options)
            return
        with locked("default"):
            super().handle(*args, database="default", **options)
            # A program that checks for unapplied migrations must start without the activity database, too.
            if ACTIVITY in settings.DATABASES and not options["check_unapplied"]:
                self.migrate_activity(*args, **options)

    def migrate_activity(self, *args: Any, **options: Any) -> None:
        """Migrate the activity database; only this app has tables there."""
        if options["app_label"] not in (None, APP):
            return
        if not settings.ACTIVITY_URL:
            create_if_missing(connections[ACTIVITY].settings_dict["NAME"])
        with locked(ACTIVITY):
            super().handle(*args, **options | {"database": ACTIVITY, "app_label": APP})


@contextmanager
def locked(alias: str) -> Iterator[None]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.MIGRATE])
        cursor.execute("SET lock_timeout = '10s'")
        try:
            yield
        finally:
            cursor.execute("RESET lock_timeout")
            cursor.execute("SELECT pg_advisory_unlock(%s)", [AdvisoryLock.MIGRATE])


def create_if_missing(name: str) -> None:
    """Create the database on the portal's own server. Raises CommandError."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if cursor.rowcount:
            return
        try:
            cursor.execute(f"CREATE DATABASE {connections['default'].ops.quote_name(name)}")
        except DatabaseError as error:
            raise CommandError(
                f"The activity database {name} cannot be created ({error}). Create it, or set ACTIVITY_URL."
            ) from error

from typing import Any

from django.core.management.commands.migrate import Command as MigrateCommand
from django.db import connections

# Any constant: two replicas that start together ask for the same one.
LOCK = 7_586_201


class Command(MigrateCommand):
    help = "Django's migrate, one at a time, never waiting long for a table's lock."

    def handle(self, *args: Any, **options: Any) -> None:
        with connections[options["database"]].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            cursor.execute("SET lock_timeout = '10s'")
            try:
                super().handle(*args, **options)
            finally:
                cursor.execute("RESET lock_timeout")
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])

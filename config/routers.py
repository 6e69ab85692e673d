"""Which database a model lives in."""

from typing import Any

ALIAS = "activity"
LOGS = {("activity", "spacetype"), ("activity", "eventtype"), ("activity", "log")}


class ActivityRouter:
    """The logs and their types are in the activity database, all else in the portal's own."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return ALIAS if (model._meta.app_label, model._meta.model_name) in LOGS else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **_: Any) -> bool:
        return self.db_for_read(one) == self.db_for_read(other)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_: Any) -> bool:
        """`model_name` of a migration's own code: its hint of that name, without which it is the portal's."""
        return ((app_label, model_name) in LOGS) == (db == ALIAS)

"""Chooses the database of each model."""

from typing import Any

ALIAS = "activity"
LOGS = {("activity", "spacetype"), ("activity", "eventtype"), ("activity", "log")}


class ActivityRouter:
    """Keeps the logs and their types in the activity database and all else in the portal's own."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return ALIAS if (model._meta.app_label, model._meta.model_name) in LOGS else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **_: Any) -> bool:
        return self.db_for_read(one) == self.db_for_read(other)

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_: Any) -> bool:
        """A migration's RunPython belongs to the portal's database unless its hints name a `model_name`."""
        return ((app_label, model_name) in LOGS) == (db == ALIAS)

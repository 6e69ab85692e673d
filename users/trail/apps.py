from importlib import import_module

from django.apps import AppConfig
from django.contrib.auth.signals import user_login_failed
from django.db.backends.signals import connection_created

from users.trail.acting import watch_connection


class TrailConfig(AppConfig):
    name = "users.trail"
    label = "trail"

    def ready(self) -> None:
        connection_created.connect(watch_connection)
        # Django sends it for every password that is refused, whichever page asked for it.
        user_login_failed.connect(import_module("users.trail.notes").on_failed_log_in)

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
        notes = import_module("users.trail.notes")
        # Django sends it for every password that is refused, whichever page asked for it; allauth for codes.
        user_login_failed.connect(notes.on_failed_log_in)
        import_module("allauth.mfa.signals").authentication_failed.connect(notes.on_wrong_code)

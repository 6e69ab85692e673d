from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.signals import user_logged_in

from config.middleware.idle_sessions import note_log_in


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "Plumbline"

    def ready(self) -> None:
        # Registers the checks.
        import_module("config.installation.checks")
        user_logged_in.connect(note_log_in)


class PlumblineAdminConfig(AdminConfig):
    default_site = "config.admin.PlumblineAdminSite"

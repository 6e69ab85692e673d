from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "Plumbline"

    def ready(self) -> None:
        # Registers the checks.
        import_module("config.installation.checks")


class PlumblineAdminConfig(AdminConfig):
    default_site = "config.admin.PlumblineAdminSite"

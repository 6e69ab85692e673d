from importlib import import_module

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        """Load the kernels, so that a broken one from outside refuses every start, as a bad setting does."""
        import_module("analytics.kernels")

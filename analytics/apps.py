from importlib import import_module

from allauth.account.signals import user_logged_in
from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        """Load the kernels, so that a broken one from outside refuses every start, as a bad setting does."""
        import_module("analytics.kernels")
        # It asks for each session of the user apart; `activity.sessions.RecordingAdapter` does its work.
        user_logged_in.disconnect(import_module("allauth.usersessions.signals").on_user_logged_in)

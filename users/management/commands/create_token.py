from typing import Any

from django.core.management.base import BaseCommand, CommandError

from users.models import Scope, Token, User


class Command(BaseCommand):
    help = "Issue a token for a user and print it."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("login")
        parser.add_argument("--name", default="", help="what the token is for")
        parser.add_argument(
            "--scope", action="append", choices=Scope.values, help="may be repeated (default: all scopes)"
        )

    def handle(self, *, login: str, name: str, scope: list[str] | None, **_: Any) -> None:
        user = User.objects.filter(login__iexact=login).first()
        if user is None:
            raise CommandError(f"There is no user {login!r}.")
        _token, text = Token.issue(user=user, name=name, scopes=scope or list(Scope.values))
        self.stdout.write(text)

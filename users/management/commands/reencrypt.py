from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from users.hashes import cipher

ENCRYPTED = ("secret", "seed")
NO_PEPPER = (
    "A second factor is encrypted with none of TOKEN_PEPPER and TOKEN_PEPPER_FALLBACKS."
    " Name the pepper that it had, and run this again."
)


class Command(BaseCommand):
    help = "Encrypt the secrets of second factors with the present TOKEN_PEPPER; those before it can go then."

    def handle(self, **_: object) -> None:
        try:
            done = sum(reencrypt(pk) for pk in Authenticator.objects.values_list("pk", flat=True))
        except InvalidToken as error:
            raise CommandError(NO_PEPPER) from error
        self.stdout.write(f"{done} second factors are encrypted with the present TOKEN_PEPPER.")


@transaction.atomic
def reencrypt(pk: int) -> bool:
    """Return whether there was something encrypted. The lock keeps a code that is used meanwhile used."""
    row = Authenticator.objects.select_for_update().filter(pk=pk).first()
    names = [name for name in ENCRYPTED if row is not None and name in row.data]
    for name in names:
        row.data[name] = cipher().rotate(row.data[name].encode()).decode()
    if names:
        row.save(update_fields=["data"])
    return bool(names)

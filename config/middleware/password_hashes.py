from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from config.error_pages import TOO_MANY_ATTEMPTS, error_response
from users.account.hashing import RETRY_SECONDS, TooManyHashes

DETAIL = "Too many passwords are being checked. Wait as long as Retry-After says, then try again."


class BoundPasswordHashes:
    """Answer 429 when a request needs a password hash and all places are taken."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, TooManyHashes):
            return None
        happened = "Many people are logging in at this moment. Nothing was changed."
        response = error_response(request, TOO_MANY_ATTEMPTS, DETAIL, happened)
        response["Retry-After"] = str(RETRY_SECONDS)
        return response

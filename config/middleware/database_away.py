from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response

from config.problems import AWAY_ERRORS
from config.views import database_is_away


class DatabaseAway:
    """Answer 503 when a page's database is away.

    The log says so in one line: a traceback would add nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, AWAY_ERRORS):
            return None
        response = database_is_away(request, error)
        cause = " ".join(str(error).split())
        log_response("%s: %s", request.path, cause, response=response, request=request)
        return response

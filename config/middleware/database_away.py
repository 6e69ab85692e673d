from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response
from redis.exceptions import RedisError

from config.problems import AWAY_ERRORS
from config.views import attempts_are_uncounted, database_is_away


class DatabaseAway:
    """Answer 503 when a page's database is away, or Redis where it is needed.

    The log says so in one line: a traceback would add nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        # Pages that count attempts in Redis, such as that of the second factor, stay closed without it.
        if isinstance(error, RedisError):
            response = attempts_are_uncounted(request)
        elif isinstance(error, AWAY_ERRORS):
            response = database_is_away(request, error)
        else:
            return None
        cause = " ".join(str(error).split())
        log_response("%s: %s", request.path, cause, response=response, request=request)
        return response

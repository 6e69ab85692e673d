"""Errors of the REST API that REST framework lacks. Domain modules raise their own; endpoints raise these."""

from rest_framework.exceptions import APIException


class Conflict(APIException):
    status_code = 409


class TooLarge(APIException):
    status_code = 413


class UnsupportedMediaCoding(APIException):
    """The Content-Encoding is not supported."""

    status_code = 415


class RetryLater(APIException):
    """REST framework sends `wait`, in seconds, as Retry-After."""

    def __init__(self, detail: str, wait: int) -> None:
        super().__init__(detail)
        self.wait = wait


class TooManyRequests(RetryLater):
    status_code = 429


class TryAgain(RetryLater):
    status_code = 503

    def __init__(self, detail: str, wait: int = 1) -> None:
        super().__init__(detail, wait)

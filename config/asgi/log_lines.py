"""Lines of the log: those of a request end with its id, none is made by a stranger, and none tells a secret.

Paths, hosts and other texts of requests come into messages. They can neither begin a line nor control the
terminal that shows it.
"""

import logging
import re
from typing import Any

from devices.ingestion.asgi import current_request_id

# Control characters, separators of lines, and what turns the direction of writing.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# The address of a link that was mailed is a credential: who reads the log could follow it first.
SECRET_PATH = re.compile(r"(/portal/account/(?:email|invited|password/reset/key)/)[^\s\"'<>?]+")


def printable(text: str) -> str:
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class RequestIdFilter(logging.Filter):
    """Adds `mark` to a record; empty outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = current_request_id.get()
        record.mark = f" [request {request_id}]" if request_id else ""
        return True


class RefusalsInOneLine(logging.Filter):
    """Leaves out the tracebacks of requests that Django refuses: anybody could fill the log with them."""

    def filter(self, record: logging.LogRecord) -> bool:
        is_refusal = record.name == "django.request" and record.levelno < logging.ERROR
        if is_refusal or record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
        return True


class LineFormatter(logging.Formatter):
    """Makes one line of a message, indents those of a traceback, and hides the secret part of paths."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRET_PATH.sub(r"\1(hidden)", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).split("\n"))


def logging_settings(level: str) -> dict[str, Any]:
    """Make Django's LOGGING: all of these lines, from this level on, to the standard error."""
    line = {"()": LineFormatter, "format": "{asctime} {levelname} {name}: {message}{mark}", "style": "{"}
    console = {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id", "refusals"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestIdFilter}, "refusals": {"()": RefusalsInOneLine}},
        "formatters": {"line": line},
        "handlers": {"console": console},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            # Lines of `runserver`: Django gives them a handler of their own.
            "django.server": {"handlers": [], "propagate": True},
        },
    }

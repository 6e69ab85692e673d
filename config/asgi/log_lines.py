"""Lines of the log: those of a request end with its id, by which people report an error; no secrets."""

import logging
import re

from devices.ingestion.asgi import current_request_id

# The address of a link that was mailed is a credential: who reads the log could follow it first.
SECRET_PATH = re.compile(r"(/portal/account/(?:email|invited|password/reset/key)/)[^\s\"'<>?]+")


class RequestIdFilter(logging.Filter):
    """Adds `mark` to a record; empty outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = current_request_id.get()
        record.mark = f" [request {request_id}]" if request_id else ""
        return True


class SecretFreeFormatter(logging.Formatter):
    """Hides the secret part of paths in the whole text, which includes the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRET_PATH.sub(r"\1(hidden)", super().format(record))

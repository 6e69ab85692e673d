"""Lines of the log: those of a request end with its id, by which people report an error."""

import logging

from devices.ingestion.asgi import current_request_id


class RequestIdFilter(logging.Filter):
    """Adds `mark` to a record; empty outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = current_request_id.get()
        record.mark = f" [request {request_id}]" if request_id else ""
        return True

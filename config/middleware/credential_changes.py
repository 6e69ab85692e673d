from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from devices.access import credential_changes
from devices.ingestion.post_head import POST_PATH as TAKES_READINGS

GetResponse = Callable[[HttpRequest], HttpResponse]


def note_changes(get_response: GetResponse) -> GetResponse:
    """Tell the web processes that a request may have changed a credential, a device or a user.

    No process then keeps using a stale grant. Posts of readings change none of these and are too frequent.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.method not in ("GET", "HEAD", "OPTIONS") and not TAKES_READINGS.fullmatch(request.path):
            credential_changes.note_change()
        return response

    return middleware

"""How many requests of one person this process answers at the same time.

Each holds a thread, and there are few: one person must not hold all of them. Those of one credential have
waited for each other before (`config.asgi.shares`), so only a person who uses several at the same time, or
reads answers slowly, is refused here. What changes something counts as well: a POST can wait for a lock as
long as a GET. Posts of readings do not come here.
"""

from collections import Counter
from functools import partial
from threading import Lock
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from users.limits import LimitReached

WAIT_SECONDS = 1
# Key of META, for `release`.
HELD = "plumbline.held_request"

held: Counter[int] = Counter()
lock = Lock()


def hold(request: HttpRequest, user: Any) -> None:
    """Count this request until `release`. Raises LimitReached."""
    most = settings.READS_AT_ONCE
    # Everybody in the open demo is the same person.
    is_open = getattr(request, "is_open_demo", False)
    if not most or is_open or not isinstance(user.pk, int):
        return
    with lock:
        if held[user.pk] >= most:
            raise LimitReached(
                f"{held[user.pk]} of your requests are being answered by this process; at most {most} may be"
                " (READS_AT_ONCE). Try again when one has been answered.",
                WAIT_SECONDS,
            )
        held[user.pk] += 1
    request.META[HELD] = user.pk


def release(request: HttpRequest, response: Any) -> None:
    """End the count: of a streamed answer once it is sent or given up."""
    user_id = request.META.pop(HELD, None)
    if user_id is None:
        return
    if response.streaming:
        response._resource_closers.append(partial(let_go, user_id))
    else:
        let_go(user_id)


def let_go(user_id: int) -> None:
    with lock:
        held[user_id] -= 1
        if not held[user_id]:
            del held[user_id]


class ReadsOfPerson(BaseThrottle):
    """Counts a request of the API as soon as REST framework knows whose it is."""

    def allow_request(self, request: Request, view: Any) -> bool:
        hold(request._request, request.user)
        return True

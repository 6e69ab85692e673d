"""Tells the trail who makes a request."""

import asyncio
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import empty

from devices.ingestion.asgi import current_request_id
from users.account.addresses import client_address
from users.models import Credential
from users.trail import notes
from users.trail.acting import Facts, acting

GetResponse = Callable[[HttpRequest], HttpResponse]


def who_acts(get_response: GetResponse) -> GetResponse:
    """Name the request's user, credential and address for each statement that it has written.

    Any request but those on the event loop also writes what the trail has counted, once that is due.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if notes.tally.is_due() and may_wait():
            notes.write_counts()
        with acting(lambda: facts_of(request)):
            return get_response(request)

    return middleware


def may_wait() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def facts_of(request: HttpRequest) -> Facts:
    user, credential = known_user(request), getattr(request, "auth", None)
    route = request.resolver_match.route if request.resolver_match else ""
    # The path itself may hold a secret, such as that of an invitation.
    source = f"{request.method} /{route}" if "(?P" not in route else f"{request.method} {name_of(request)}"
    return {
        "source": f"open demo: {source}" if getattr(request, "is_open_demo", False) else source,
        "actor_id": user.pk if user else None,
        "actor": user.login if user else "",
        "credential": credential.prefix if isinstance(credential, Credential) else "",
        "address": client_address(request),
        "request_id": current_request_id.get(),
    }


def known_user(request: HttpRequest) -> Any:
    """The user, unless nobody has asked for them yet: this must not be the first to read the session."""
    user = getattr(request, "user", None)
    if getattr(user, "_wrapped", None) is empty:
        return None
    return user if user is not None and user.is_authenticated else None


def name_of(request: HttpRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""

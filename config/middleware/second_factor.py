from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from config.problems import problem
from users.authentication import sends_credential

# Where staff set up a second factor, prove who they are, and leave; and what is open to everybody.
STILL_OPEN = (
    *("/portal/account/2fa/", "/portal/account/reauthenticate/", "/portal/login/", "/portal/logout/"),
    *("/schema/", "/docs", "/redoc"),
)
FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
MESSAGE = "Staff need a second factor here. Set one up to go on."


class SecondFactorOfStaff:
    """Lead staff who have no second factor to the page where they set one up, if the setting asks for it.

    A token is a credential of its own: requests to the API that send one pass.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable, *_: Any) -> HttpResponse | None:
        is_api = hasattr(view, "cls")
        if not settings.STAFF_NEED_SECOND_FACTOR or is_exempt(request):
            return None
        if (is_api and sends_credential(request)) or is_mfa_enabled(request.user, FACTORS):
            return None
        if is_api:
            return problem(403, MESSAGE)
        messages.warning(request, MESSAGE)
        return redirect("mfa_index")


def is_exempt(request: HttpRequest) -> bool:
    return (
        not request.user.is_authenticated
        or not request.user.is_staff
        or getattr(request, "is_open_demo", False)
        or request.path_info.startswith(STILL_OPEN)
    )

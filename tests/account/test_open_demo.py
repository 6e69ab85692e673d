"""An open demo is open for data, not for anybody's account."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from config.middleware.demo import demo_user
from tests.account.people import person
from users.models import Role

pytestmark = pytest.mark.django_db


def passed(path: str) -> HttpRequest:
    """The request as the views get it."""
    request = RequestFactory().get(path)
    request.user = AnonymousUser()
    demo_user(lambda _: HttpResponse())(request)
    return request


def test_everybody_is_the_admin_except_on_pages_of_an_account(settings):
    settings.DEMO = True
    admin = person(Role.ADMIN)
    assert passed("/portal/devices/").user == admin
    for page in ("", "tokens/", "invitations/", "2fa/", "invited/x/"):
        assert passed(f"/portal/account/{page}").user.is_anonymous

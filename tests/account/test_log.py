"""No line of the log has a link that works: who reads logs could follow it first."""

import logging
import re
from collections.abc import Callable

import pytest
from django.test import Client

from config.asgi.log_lines import LineFormatter
from tests.account.people import logged_in, person
from tests.account.test_invitations import FORM, link
from users.account.email_change import sign_change
from users.account.lockout import PAIR_FAILURES
from users.models import Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """The lines as the portal's own handler writes them."""
    [console] = [each for each in logging.root.handlers if isinstance(each.formatter, LineFormatter)]
    return lambda: "\n".join(console.format(record) for record in caplog.records)


def secret_of(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@pytest.mark.parametrize("checks", [False, True], ids=["a form's error", "a failure of CSRF"])
def test_of_an_invitation(lines, checks):
    path = link(logged_in(person(Role.ADMIN)))
    Client(enforce_csrf_checks=checks).post(path, FORM | {"password1": "x", "password2": "x"})
    assert "/portal/account/invited/(hidden)" in lines()
    assert secret_of(path) not in lines()


def test_of_a_forgotten_password(lines, mail):
    user = person()
    Client().post("/portal/account/password/reset/", {"email": user.email})
    [path] = re.findall(r"http://testserver(\S+)", mail[0].body)
    for _ in range(PAIR_FAILURES):
        Client().get(f"{path[:-9]}{'0' * 8}/")
    assert Client().get(path).status_code == 429
    assert "/portal/account/password/reset/key/(hidden)" in lines()
    assert secret_of(path) not in lines()


def test_of_a_new_email(lines):
    secret = sign_change(person(), "new@example.com")
    Client(enforce_csrf_checks=True).post(f"/portal/account/email/{secret}/")
    assert "/portal/account/email/(hidden)" in lines()
    assert secret not in lines()


def test_of_an_exception():
    record = logging.makeLogRecord({"msg": "Failed", "exc_text": "at '/portal/account/invited/pli_1.x/'"})
    assert LineFormatter().format(record).endswith("/portal/account/invited/(hidden)'")

"""People with passwords, log-ins through the page, and authenticator apps."""

import re
from typing import Any

from django.http import HttpResponse
from django.test import Client

from tests.account.codes import code_of
from tests.support import factories
from users.models import Role, User

PASSWORD = "plumb-7-line"
LOGIN = "/portal/login/"


def person(role: Role = Role.OWNER, **fields: Any) -> User:
    user = factories.person(role, **fields)
    user.set_password(PASSWORD)
    user.save()
    return user


def try_password(
    login: str, password: str = PASSWORD, client: Client | None = None, **meta: Any
) -> HttpResponse:
    return (client or Client()).post(LOGIN, {"username": login, "password": password}, **meta)


def logged_in(user: User, **meta: Any) -> Client:
    client = Client(**meta)
    answer = try_password(user.login, client=client)
    assert answer.status_code == 302, answer.content
    return client


def later(client: Client) -> Client:
    """Let the log-in be an hour old, so that the password is asked for again."""
    session = client.session
    records = session["account_authentication_methods"]
    session["account_authentication_methods"] = [{**record, "at": record["at"] - 3600} for record in records]
    session.save()
    return client


def set_up_app(client: Client) -> str:
    """Activate an authenticator app; return its secret."""
    page = "/portal/account/2fa/totp/activate/"
    [secret] = re.findall(r'class="secret">([A-Z2-7]+)<', client.get(page).content.decode())
    assert client.post(page, {"code": code_of(secret, steps=-1)}).status_code == 302
    return secret

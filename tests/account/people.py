"""People with passwords, log-ins through the page, and codes of their authenticator apps."""

import base64
import hmac
import re
import time
from typing import Any

from django.http import HttpResponse
from django.test import Client

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


def code_of(secret: str, *, steps: int = 0) -> str:
    """The code of RFC 6238 for now, or for so many half minutes later."""
    counter = (int(time.time()) // 30 + steps).to_bytes(8, "big")
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**6:06}"


def set_up_app(client: Client) -> str:
    """Activate an authenticator app; return its secret."""
    page = "/portal/account/2fa/totp/activate/"
    [secret] = re.findall(r'class="secret">([A-Z2-7]+)<', client.get(page).content.decode())
    assert client.post(page, {"code": code_of(secret, steps=-1)}).status_code == 302
    return secret

"""The kinds of callers: who they are, what they send, and how far that goes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from devices.models import DeviceKey
from tests.matrix.stage import Stage
from tests.support import factories
from users.models import Role, Token, User

ALL = frozenset(("read", "write", "ingest"))
SESSION, NOBODY = "session", "no credential"
UNKNOWN = "plt_00000000.bm8gc3VjaCB0b2tlbg"


@dataclass(frozen=True)
class Caller:
    """`who` is a person of the stage, or nobody (""): the credential is missing or refused.

    `by` is a token, a device's key or a session; a key is that of a device of the stage, named by `key_of`.
    `waits`: the second factor is due. `proves`: changes come with the proof of a form (a CSRF token).
    """

    name: str
    client: Client
    who: str = ""
    by: str = ""
    scopes: frozenset[str] = ALL
    key_of: str = ""
    waits: bool = False
    proves: bool = True

    @property
    def is_staff(self) -> bool:
        return self.who in ("admin", "staff")

    def sees(self, target: str) -> bool:
        """Whether this caller may see rows of this target: one of the owners, or a target without rows."""
        return bool(self.who) and target in ("owner", "stranger") and (self.is_staff or self.who == target)


def callers(stage: Stage) -> list[Caller]:
    return [*bearers(stage), *keys(stage), *refused(stage), *sessions(stage)]


def sending(text: str) -> Client:
    return Client(raise_request_exception=False, headers={"Authorization": text})


def bearers(stage: Stage) -> Iterator[Caller]:
    """Tokens of every role, and of every scope."""
    for who, user in stage.people.items():
        yield Caller(f"token of {who}", sending(f"Token {new_token(user)}"), who, "token")
    for who in ("owner", "admin"):
        for scope in sorted(ALL):
            text = new_token(stage.people[who], scopes=[scope])
            name = f"{scope} token of {who}"
            yield Caller(name, sending(f"Token {text}"), who, "token", frozenset((scope,)))


def keys(stage: Stage) -> Iterator[Caller]:
    """Keys of the device that requests are about, of others, and of one that is disabled."""
    for name in ("owner", "stranger", "second", "disabled"):
        _key, text = DeviceKey.issue(device=stage.devices[name])
        yield Caller(f"key of device {name}", sending(f"Device {text}"), by="key", key_of=name)


def refused(stage: Stage) -> Iterator[Caller]:
    """Whoever has no valid credential."""
    owner, device, now = stage.people["owner"], stage.devices["owner"], timezone.now()
    past = now - timedelta(seconds=1)
    revoked_key = {"revoked_at": past}
    inactive = factories.person(Role.OWNER)
    texts = {
        NOBODY: "",
        "unknown token": f"Token {UNKNOWN}",
        "altered token": f"Token {new_token(owner)[:-3]}AAA",
        "expired token": f"Token {new_token(owner, expires_at=past)}",
        "revoked token": f"Token {new_token(owner, revoked_at=past)}",
        "token of an inactive user": f"Token {new_token(inactive)}",
        "expired key": f"Device {DeviceKey.issue(device=device, expires_at=past)[1]}",
        "revoked key": f"Device {DeviceKey.issue(device=device, **revoked_key)[1]}",
        "key as token": f"Token {DeviceKey.issue(device=device)[1]}",
        "token as key": f"Device {new_token(owner)}",
        "password": "Basic b3duZXI6cGFzc3dvcmQ=",
    }
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    for name, text in texts.items():
        yield Caller(name, sending(text) if text else Client(raise_request_exception=False))


def sessions(stage: Stage) -> Iterator[Caller]:
    """People who have logged in to the pages."""
    for who, user in stage.people.items():
        yield Caller(f"session of {who}", logged_in(user), who, SESSION)
    yield Caller(
        "session without a form's proof",
        logged_in(stage.people["owner"], True),
        "owner",
        SESSION,
        proves=False,
    )
    yield Caller("session of staff, second factor due", logged_in(stage.due), "staff", SESSION, waits=True)
    inactive = factories.person(Role.ADMIN)
    client = logged_in(inactive)
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    yield Caller("session of an inactive user", client)
    ended = logged_in(stage.people["admin"])
    ended.logout()
    yield Caller("session that ended", ended)


def logged_in(user: User, is_checked: bool = False) -> Client:
    client = Client(raise_request_exception=False, enforce_csrf_checks=is_checked)
    client.force_login(user)
    return client


def new_token(user: User, **fields: object) -> str:
    return Token.issue(user=user, **fields)[1]

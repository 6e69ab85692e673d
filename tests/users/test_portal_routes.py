"""Every page of the portal, tried by everybody: a new route fails here until it says who may use it."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.models import Analysis, Calculation, Status
from devices.models import DeviceKey
from tests.imports import uploads
from tests.support import factories
from users.models import Invitation, Token, User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])
PEOPLE = ("anonymous", "stranger", "owner", "staff", "admin")
Outcome = str | int
Access = tuple[Outcome, Outcome, Outcome, Outcome, Outcome]

# What each of PEOPLE gets: the log-in page, a refusal, or "in": the view answered something.
EVERYBODY: Access = ("in", "in", "in", "in", "in")
SIGNED_IN: Access = ("login", "in", "in", "in", "in")
OWNER_AND_STAFF: Access = ("login", 404, "in", "in", "in")
OWNER_ALONE: Access = ("login", 404, "in", 404, 404)
STAFF: Access = ("login", 403, 403, "in", "in")
# Who may not see the device does not learn that there is one.
STAFF_ON_A_DEVICE: Access = ("login", 404, 403, "in", "in")
# Not even that there are imports.
STAFF_UNSEEN: Access = ("login", 404, 404, "in", "in")
ADMINS: Access = ("login", 403, 403, 403, "in")
# The row of somebody else again, or a page of a second factor that these people do not have.
NOT_THEIRS: Access = ("login", 404, 404, 404, 404)
# Pages that ask again for a password or a factor: these people have neither.
NO_FACTOR: Access = ("login", 403, 403, 403, 403)
# A provider that is not set up.
NOBODY: Access = (404, 404, 404, 404, 404)
NO_GET: Access = ("login", 405, 405, 405, 405)
LOGGED_OUT: Access = ("login", "login", "login", "login", "login")


class Rule(NamedTuple):
    """Who gets in by GET and, where it differs or changes something, by POST.

    `args` are those of the route, and `query` the address's; both name rows of `rows_of`.
    """

    get: Access
    post: Access | None = None
    args: tuple[str, ...] = ()
    query: str = ""


DEVICE, ANALYSIS, CALCULATION = ("device",), ("analysis",), ("calculation",)
RULES = {
    "portal/": Rule(EVERYBODY),
    "devices:device-list": Rule(SIGNED_IN),
    "devices:device-new": Rule(SIGNED_IN, SIGNED_IN),
    "devices:owner-search": Rule(STAFF),
    "devices:profile-new": Rule(STAFF, STAFF),
    "devices:connect": Rule(OWNER_AND_STAFF, OWNER_AND_STAFF, DEVICE),
    "devices:connection": Rule(OWNER_AND_STAFF, None, DEVICE),
    "devices:trial": Rule(NO_GET, OWNER_AND_STAFF, DEVICE),
    "devices:settings": Rule(OWNER_AND_STAFF, OWNER_AND_STAFF, DEVICE),
    "devices:revoke-key": Rule(NO_GET, OWNER_AND_STAFF, ("device", "key")),
    "devices:delete": Rule(OWNER_AND_STAFF, OWNER_AND_STAFF, DEVICE),
    "devices:bin": Rule(SIGNED_IN),
    "devices:bring-back": Rule(NO_GET, OWNER_AND_STAFF, ("binned",)),
    "devices:erase": Rule(NO_GET, OWNER_AND_STAFF, ("binned",)),
    "devices:exclusion-list": Rule(OWNER_AND_STAFF, STAFF_ON_A_DEVICE, DEVICE),
    "devices:exclusion-lift": Rule(NO_GET, STAFF_ON_A_DEVICE, ("device", "exclusion")),
    "devices:import": Rule(STAFF_UNSEEN, STAFF_UNSEEN),
    "devices:import-states": Rule(STAFF_UNSEEN),
    "devices:import-detail": Rule(STAFF_UNSEEN, STAFF_UNSEEN, ("upload",)),
    "devices:import-faulty-rows": Rule(STAFF_UNSEEN, None, ("upload",)),
    "devices:import-action": Rule(NO_GET, STAFF_UNSEEN, ("upload", "discard")),
    "analytics:device": Rule(OWNER_AND_STAFF, None, DEVICE),
    "analytics:device-latest": Rule(OWNER_AND_STAFF, None, DEVICE),
    "analytics:device-stretch": Rule(OWNER_AND_STAFF, None, DEVICE),
    "analytics:device-readings": Rule(OWNER_AND_STAFF, None, DEVICE),
    "analytics:device-statistics": Rule(OWNER_AND_STAFF, OWNER_AND_STAFF, DEVICE),
    "analytics:device-runs": Rule(OWNER_AND_STAFF, None, DEVICE),
    "analytics:analysis-list": Rule(SIGNED_IN, SIGNED_IN),
    "analytics:analysis-stale": Rule(SIGNED_IN),
    "analytics:analysis": Rule(OWNER_AND_STAFF, OWNER_AND_STAFF, ANALYSIS),
    "analytics:analysis-chart": Rule(OWNER_AND_STAFF, None, ("with_buckets",)),
    "analytics:analysis-cancel": Rule(NO_GET, OWNER_AND_STAFF, ANALYSIS),
    "analytics:bucket-file": Rule(OWNER_AND_STAFF, None, ("with_buckets",)),
    "analytics:calculation-list": Rule(SIGNED_IN),
    "analytics:calculation-states": Rule(SIGNED_IN),
    "analytics:calculation-new": Rule(SIGNED_IN, SIGNED_IN),
    "analytics:calculation": Rule(OWNER_AND_STAFF, None, CALCULATION),
    "analytics:calculation-chart": Rule(OWNER_AND_STAFF, None, CALCULATION),
    "analytics:calculation-cancel": Rule(NO_GET, OWNER_AND_STAFF, CALCULATION),
    "analytics:calculation-rerun": Rule(NO_GET, OWNER_AND_STAFF, CALCULATION),
    "analytics:calculation-compare": Rule(OWNER_AND_STAFF, None, CALCULATION, "with={calculation}"),
    "activity:activity": Rule(SIGNED_IN),
    "trail:trail": Rule(STAFF_UNSEEN),
    "trail:trail-file": Rule(STAFF_UNSEEN),
    "activity:login": Rule(EVERYBODY),
    "activity:logout": Rule(NO_GET, LOGGED_OUT),
    "account_login": Rule(EVERYBODY),
    "account_logout": Rule(NO_GET, LOGGED_OUT),
    "account_profile": Rule(SIGNED_IN, SIGNED_IN),
    "account_email": Rule(SIGNED_IN, SIGNED_IN),
    "account_confirm_email": Rule(EVERYBODY, EVERYBODY, ("secret",)),
    "account_tokens": Rule(SIGNED_IN, SIGNED_IN),
    "account_revoke_token": Rule(NO_GET, OWNER_ALONE, ("token",)),
    "usersessions_list": Rule(SIGNED_IN, SIGNED_IN),
    "account_invitations": Rule(ADMINS, ADMINS),
    "account_withdraw_invitation": Rule(NO_GET, ADMINS, ("invitation",)),
    "account_accept_invitation": Rule(EVERYBODY, EVERYBODY, ("secret",)),
    "account_change_password": Rule(SIGNED_IN, SIGNED_IN),
    "account_set_password": Rule(SIGNED_IN, SIGNED_IN),
    "account_reset_password": Rule(EVERYBODY, EVERYBODY),
    "account_reset_password_done": Rule(EVERYBODY),
    "account_reset_password_from_key": Rule(EVERYBODY, EVERYBODY, ("1", "key")),
    "account_reset_password_from_key_done": Rule(EVERYBODY),
    "account_inactive": Rule(EVERYBODY),
    "account_reauthenticate": Rule(NO_FACTOR, NO_FACTOR),
    "mfa_index": Rule(SIGNED_IN),
    "mfa_authenticate": Rule(SIGNED_IN, SIGNED_IN),
    "mfa_reauthenticate": Rule(NO_FACTOR, NO_FACTOR),
    "mfa_activate_totp": Rule(SIGNED_IN, SIGNED_IN),
    "mfa_deactivate_totp": Rule(NOT_THEIRS, NOT_THEIRS),
    "mfa_view_recovery_codes": Rule(NOT_THEIRS),
    "mfa_generate_recovery_codes": Rule(SIGNED_IN, SIGNED_IN),
    "mfa_download_recovery_codes": Rule(NOT_THEIRS),
    "mfa_list_webauthn": Rule(SIGNED_IN),
    "mfa_add_webauthn": Rule(SIGNED_IN, SIGNED_IN),
    "mfa_reauthenticate_webauthn": Rule(NO_FACTOR, NO_FACTOR),
    "mfa_remove_webauthn": Rule(NOT_THEIRS, NOT_THEIRS, ("passkey",)),
    "mfa_edit_webauthn": Rule(NOT_THEIRS, NOT_THEIRS, ("passkey",)),
    "mfa_login_webauthn": Rule(SIGNED_IN, SIGNED_IN),
    "socialaccount_login_cancelled": Rule(EVERYBODY),
    "socialaccount_login_error": Rule(SIGNED_IN),
    "openid_connect_login": Rule(NOBODY, NOBODY, ("none",)),
    "openid_connect_callback": Rule(NOBODY, NOBODY, ("none",)),
}


def portal_routes(patterns: Any = None, path: str = "", namespace: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and path of each route below /portal/."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        found = f"{path}{pattern.pattern}"
        if not isinstance(pattern, URLPattern):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from portal_routes(pattern.url_patterns, found, inner)
        elif found.startswith("portal/"):
            yield f"{namespace}{pattern.name or found}", found


@pytest.fixture
def world() -> dict[str, Any]:
    """The rows of an owner that the routes name, and the people."""
    owner = factories.owner()
    people = {"owner": owner, "stranger": factories.stranger(), "staff": factories.colleague()}
    people["admin"] = factories.admin()
    return people | rows_of(owner)


def rows_of(owner: User) -> dict[str, Any]:
    device, binned = factories.device(owner), factories.device(owner)
    binned.put_into_bin(timezone.now())
    factories.readings(device, [(1.5, 2, 3)])
    done = {"status": Status.FINISHED, "asked_by": owner}
    result = TaskResult.objects.create(task_id="buckets", result=json.dumps({"buckets": []}))
    known = {"kernel": "well", "kernel_version": "1", "parameters": {}, "seed": 1}
    return {
        "device": device.uuid,
        "binned": binned.uuid,
        "key": DeviceKey.issue(device=device)[0].prefix,
        "exclusion": factories.exclusion(device).pk,
        "analysis": Analysis.objects.create(device=device, asked_by=owner).pk,
        "with_buckets": Analysis.objects.create(device=device, task_result=result, **done).pk,
        "calculation": Calculation.objects.create(**known, **done).pk,
        "upload": uploads.upload(f"{uploads.HEADER}\n").pk,
        "token": Token.issue(user=owner)[0].prefix,
        "passkey": Authenticator.objects.create(user=factories.stranger(), type="webauthn", data={}).pk,
        "invitation": Invitation.issue(email="b@example.com", invited_by=factories.admin())[0].prefix,
    }


@pytest.fixture
def cookies(world: dict[str, Any]) -> dict[str, str | None]:
    def cookie(user: User) -> str:
        client = Client()
        client.force_login(user)
        return client.cookies[settings.SESSION_COOKIE_NAME].value

    return {who: cookie(world[who]) if who in world else None for who in PEOPLE}


def ask(method: str, path: str, cookie: str | None) -> HttpResponseBase:
    """Send a request and take back what it changed."""
    client = Client()
    if cookie:
        client.cookies[settings.SESSION_COOKIE_NAME] = cookie
    with transaction.atomic():
        response = client.generic(method, path)
        transaction.set_rollback(True)
    return response


def outcome(response: HttpResponseBase) -> Outcome:
    if response.status_code == 302 and response["Location"].startswith("/portal/login/"):
        return "login"
    return response.status_code if response.status_code in (403, 404, 405) else "in"


def path_of(name: str, rule: Rule, world: dict[str, Any]) -> str:
    path = reverse(name, args=[world.get(arg, arg) for arg in rule.args]) if name[-1] != "/" else f"/{name}"
    return f"{path}?{rule.query.format_map(world)}" if rule.query else path


def tried(access: Access | None) -> list[tuple[str, Outcome]]:
    """People with what they get. One stands for all who are signed in where they get the same."""
    pairs = list(zip(PEOPLE, access or (), strict=False))
    return pairs if len({found for _, found in pairs[1:]}) > 1 else pairs[:2]


def test_every_route_of_the_portal_has_a_rule() -> None:
    assert {name for name, _ in portal_routes()} == set(RULES)


def test_everybody_gets_in_where_they_may_and_nowhere_else(
    world: dict[str, Any], cookies: dict[str, str | None]
) -> None:
    wrong = []
    for name, rule in RULES.items():
        path = path_of(name, rule, world)
        for method, access in (("GET", rule.get), ("POST", rule.post)):
            for who, expected in tried(access):
                found = outcome(ask(method, path, cookies[who]))
                if found != expected:
                    wrong.append((name, method, who, found, expected))
    assert not wrong

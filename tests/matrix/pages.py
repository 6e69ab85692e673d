"""What each page answers to whom, asked for and sent an empty form. A new page needs its line here."""

from collections.abc import Iterator
from typing import Any

from tests.matrix.route import ADMIN, STAFF, Page

NOT_ALLOWED = 405


def pages() -> Iterator[Page]:
    yield from of_devices()
    yield from of_imports()
    yield from of_runs()
    yield from of_accounts()
    yield from of_factors()
    yield from of_everybody()


def both(path: str, get: int, post: int, **options: Any) -> Iterator[Page]:
    yield Page("GET", path, get, **options)
    yield Page("POST", path, post, **options)


def of_devices() -> Iterator[Page]:
    device = "portal/devices/{device}/"
    yield from both("portal/devices/", 200, 200)
    yield from both("portal/devices/new/", 200, 200)
    yield from both("portal/devices/owners/", 200, NOT_ALLOWED, roles=STAFF)
    yield from both("portal/profiles/new/", 200, 200, roles=STAFF)
    yield from both(device, 200, 200)
    yield from both(f"{device}latest/", 200, 200)
    yield from both(f"{device}stretch/", 200, 200)
    yield from both(f"{device}readings/", 200, 200)
    yield from both(f"{device}statistics/", 200, 200)
    yield from both(f"{device}runs/", 200, 200)
    yield from both(f"{device}connect/", 200, 200)
    yield from both(f"{device}connect/state/", 200, NOT_ALLOWED)
    yield from both(f"{device}connect/test/", NOT_ALLOWED, 302)
    yield from both(f"{device}settings/", 200, 200)
    yield from both(f"{device}delete/", 200, 200)
    yield from both(f"{device}keys/{{key}}/revoke/", NOT_ALLOWED, 302)
    yield Page("GET", f"{device}exclusions/", 200)
    yield Page("POST", f"{device}exclusions/", 200, roles=STAFF)
    yield from both(f"{device}exclusions/{{exclusion}}/lift/", NOT_ALLOWED, 302, roles=STAFF)
    yield from both("portal/devices/bin/", 200, 200)
    yield from both("portal/devices/bin/{binned}/bring-back/", NOT_ALLOWED, 302)
    yield from both("portal/devices/bin/{binned}/erase/", NOT_ALLOWED, 302)


def of_imports() -> Iterator[Page]:
    """Imports are for staff; to everybody else they do not exist."""
    staff: dict[str, Any] = {"roles": STAFF, "denied": 404}
    yield Page("GET", "portal/import/", 200, **staff)
    # The proof of the form is asked for after the permission.
    yield Page("POST", "portal/import/", 200, checks_proof_first=False, **staff)
    yield from both("portal/import/states/", 200, NOT_ALLOWED, **staff)
    yield from both("portal/import/{upload}/", 200, 200, **staff)
    yield from both("portal/import/{upload}/faulty-rows.csv", 200, NOT_ALLOWED, **staff)
    yield from both("portal/import/{upload}/{action}/", NOT_ALLOWED, 302, **staff)


def of_runs() -> Iterator[Page]:
    analysis, calculation = "portal/analyses/{task}/", "portal/calculations/{calculation}/"
    yield from both("portal/analyses/", 200, 200)
    yield from both("portal/analyses/stale/", 200, 200)
    yield from both(analysis, 200, 302)
    # It has no buckets.
    yield from both(f"{analysis}chart/", 404, 404)
    yield from both(f"{analysis}buckets.csv", 404, 404)
    yield from both(f"{analysis}cancel/", NOT_ALLOWED, 302)
    yield from both("portal/calculations/", 200, 200)
    yield from both("portal/calculations/states/", 200, 200)
    yield from both("portal/calculations/new/", 200, 200)
    yield from both(calculation, 200, 200)
    yield from both(f"{calculation}chart/", 200, 200)
    yield from both(f"{calculation}cancel/", NOT_ALLOWED, 302)
    yield from both(f"{calculation}rerun/", NOT_ALLOWED, 302)
    # With no other one.
    yield from both(f"{calculation}compare/", 404, 404)
    yield from both("portal/activity/", 200, 200)
    # To owners there is no trail.
    for page in ("portal/trail/", "portal/trail.csv"):
        yield from both(page, 200, NOT_ALLOWED, roles=STAFF, denied=404)


def of_accounts() -> Iterator[Page]:
    account = "portal/account/"
    yield from both(account, 200, 200)
    # Of those who have a second factor it is asked for anew.
    asked: dict[str, Any] = {"others": {"admin": 302, "staff": 302}}
    for page in (f"{account}email/", f"{account}tokens/"):
        yield Page("GET", page, 200)
        yield Page("POST", page, 200, **asked)
    yield from both(f"{account}tokens/{{token}}/revoke/", NOT_ALLOWED, 302, is_personal=True)
    yield from both(f"{account}sessions/", 200, 400)
    invitations: dict[str, Any] = {"roles": ADMIN, "is_blind": True}
    yield from both(f"{account}invitations/", 200, 200, **invitations)
    yield from both(f"{account}invitations/{{invitation}}/withdraw/", NOT_ALLOWED, 302, **invitations)
    # People here have no password, as those who come by OpenID Connect.
    yield from both(f"{account}password/change/", 302, 302)
    yield from both(f"{account}password/set/", 200, 200, **asked)


def of_factors() -> Iterator[Page]:
    """Where people set up a second factor. Admins and staff have one, by which they prove who they are."""
    factors = "portal/account/2fa/"
    still_open: dict[str, Any] = {"second_factor": False}
    asked: dict[str, Any] = {"others": {"admin": 302, "staff": 302}, **still_open}
    by_code: dict[str, Any] = {"others": {"admin": 200, "staff": 200}, **still_open}
    yield from both("portal/account/reauthenticate/", 403, 403, **asked)
    yield from both(factors, 200, NOT_ALLOWED, **still_open)
    yield from both(f"{factors}reauthenticate/", 403, 403, **by_code)
    yield from both(f"{factors}totp/activate/", 200, 200, **asked)
    yield from both(f"{factors}totp/deactivate/", 404, 404, **asked)
    yield from both(f"{factors}recovery-codes/", 404, NOT_ALLOWED, **still_open)
    yield from both(f"{factors}recovery-codes/generate/", 200, 200, **asked)
    yield from both(f"{factors}recovery-codes/download/", 404, 404, **still_open)
    yield from both(f"{factors}webauthn/", 200, NOT_ALLOWED, **still_open)
    yield from both(f"{factors}webauthn/add/", 200, 200, **asked)
    yield from both(f"{factors}webauthn/reauthenticate/", 403, 403, **asked)
    yield from both(f"{factors}webauthn/keys/{{object}}/remove/", 404, 404, **asked)
    yield from both(f"{factors}webauthn/keys/{{object}}/edit/", 404, 404, **asked)


def of_everybody() -> Iterator[Page]:
    """Pages that need no log-in."""
    public: dict[str, Any] = {"is_public": True}
    own_door: dict[str, Any] = {"is_public": True, "second_factor": False}
    documents: dict[str, Any] = public | {"checks_proof_first": False, "second_factor": False}
    yield from both("", 302, 302, **public)
    yield from both("portal/", 302, 302, **public)
    yield from both("portal/login/", 200, 200, **own_door)
    yield from both("portal/logout/", NOT_ALLOWED, 302, second_factor=False)
    account = "portal/account/"
    # The link of a mail: it has a signature.
    yield from both(f"{account}email/{{secret}}/", 200, 410, **public)
    yield from both(f"{account}invited/{{secret}}/", 200, 200, is_open=True, gone=410, **public)
    yield from both(f"{account}password/reset/", 200, 200, **public)
    yield from both(f"{account}password/reset/done/", 200, NOT_ALLOWED, **public)
    yield from both(f"{account}password/reset/key/{{user}}-{{secret}}/", 200, 200, **public)
    yield from both(f"{account}password/reset/key/done/", 200, NOT_ALLOWED, **public)
    yield from both(f"{account}inactive/", 200, NOT_ALLOWED, **public)
    yield from both("portal/account/2fa/authenticate/", 302, 302, **own_door)
    yield from both("portal/account/2fa/webauthn/login/", 302, 302, **own_door)
    yield from both(f"{account}openid/cancelled/", 200, NOT_ALLOWED, **public)
    yield from both(f"{account}openid/error/", 401, NOT_ALLOWED)
    # There is no provider.
    yield from both(f"{account}oidc/{{provider}}/login/", 404, 404, **public)
    yield from both(f"{account}oidc/{{provider}}/login/callback/", 404, 404, **public)
    # Without a contact.
    yield from both(".well-known/security.txt", 404, NOT_ALLOWED, **public)
    yield from both("schema/", 200, NOT_ALLOWED, **documents)
    yield from both("docs", 200, NOT_ALLOWED, **documents)
    yield from both("redoc", 200, NOT_ALLOWED, **documents)

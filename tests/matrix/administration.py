"""What Django admin answers to whom. A new model needs its line in MODELS.

Its pages of single rows are asked for a row that is missing: who may see them is decided before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.matrix.callers import Caller
from tests.matrix.pages import NOT_ALLOWED
from tests.matrix.route import ADMIN, STAFF, Page


class Rights(NamedTuple):
    """Who may look at a model, and what they may do with it beside that."""

    roles: frozenset[str]
    can: str = ""


MODELS = {
    "users/user": Rights(ADMIN, "add change delete"),
    "users/token": Rights(ADMIN, "add change"),
    "axes/accessattempt": Rights(ADMIN, "delete"),
    "mfa/authenticator": Rights(ADMIN, "delete"),
    "devices/deviceprofile": Rights(STAFF, "add change delete"),
    "devices/device": Rights(STAFF, "add change delete"),
    "devices/devicekey": Rights(STAFF, "add change"),
    "devices/exclusion": Rights(STAFF),
    "devices/import": Rights(STAFF),
    "devices/reading": Rights(STAFF),
    "django_celery_results/taskresult": Rights(STAFF),
    "analytics/analysis": Rights(STAFF, "delete"),
    "analytics/calculation": Rights(STAFF),
    "activity/blog": Rights(STAFF, "add change delete"),
    "activity/post": Rights(STAFF, "add change delete"),
    "activity/pendingevent": Rights(STAFF),
    "activity/log": Rights(STAFF),
    "activity/eventtype": Rights(STAFF),
    "activity/spacetype": Rights(STAFF),
}


@dataclass(frozen=True)
class AdminPage(Page):
    """A page of Django admin: owners are led to the log-in, as if they had none."""

    def expected(self, caller: Caller, target: str) -> int:
        status = super().expected(caller, target)
        is_owner = caller.who in ("owner", "stranger")
        return 302 if is_owner and (caller.proves or self.method == "GET") else status


def both(path: str, get: int, post: int, roles: frozenset[str] = STAFF) -> Iterator[Page]:
    yield AdminPage("GET", f"admin/{path}", get, roles)
    yield AdminPage("POST", f"admin/{path}", post, roles)


def admin_pages() -> Iterator[Page]:
    yield from both("", 200, 200)
    # The page itself is the portal's log-in.
    inside = {"admin": 302, "staff": 302}
    yield Page("GET", "admin/login/", 200, is_public=True, others=inside)
    yield Page("POST", "admin/login/", 200, is_public=True)
    yield from both("logout/", NOT_ALLOWED, 302)
    yield from both("password_change/", 302, 302)
    yield from both("password_change/done/", 200, NOT_ALLOWED)
    yield from both("autocomplete/", 403, NOT_ALLOWED)
    yield from both("jsi18n/", 200, NOT_ALLOWED)
    yield from both("r/{object}/{object}/", 404, 404)
    yield from both("{app}/", 200, 200)
    yield from both("{rest}", 404, 404)
    yield from both("users/user/{object}/password/", 404, 404, ADMIN)
    for model, rights in MODELS.items():
        yield from of_model(model, rights)


def of_model(model: str, rights: Rights) -> Iterator[Page]:
    def may(action: str, status: int) -> int:
        return status if action in rights.can else 403

    row, roles = f"{model}/{{object}}/", rights.roles
    yield from both(f"{model}/", 200, 200, roles)
    yield from both(f"{model}/add/", may("add", 200), may("add", 200), roles)
    yield from both(f"{row}change/", 302, may("change", 302), roles)
    yield from both(f"{row}delete/", may("delete", 302), may("delete", 302), roles)
    # A row that is missing is told before the permission.
    yield from both(f"{row}history/", 302, 302)
    yield from both(row, 302, 302)

"""A request of a route, and the status that the rules give to each caller and target."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.matrix.callers import SESSION, Caller
from tests.matrix.stage import OWNERS

EVERYBODY = frozenset(("admin", "staff", "owner", "stranger"))
STAFF = frozenset(("admin", "staff"))
ADMIN = frozenset(("admin",))
# Those whose rows these are, and admins: not other staff.
SELF = frozenset(("admin", "owner", "stranger"))
# Nobody's: profiles, and what is missing for everybody.
SHARED = ("profile", "object", "app", "rest", "action", "provider")
SAFE = ("GET", "HEAD")
NAME = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Route:
    """`status` is what a caller gets whom nothing forbids it; `roles` are those of such callers.

    `denied` is the answer to other roles. `is_blind`: it comes before the look-up, so that what a caller may
    not see is not 404. `others` are statuses by the caller's person, where the rule has exceptions.
    """

    method: str
    path: str
    status: int
    roles: frozenset[str] = EVERYBODY
    denied: int = 403
    is_blind: bool = False
    # Whoever knows the path may use it: it has a secret.
    is_open: bool = False
    body: Any = None
    others: Mapping[str, int] = field(default_factory=dict)

    # A page's: its body is a form.
    is_form = False

    def looks_up(self, caller: Caller) -> bool:
        """Whether this caller gets as far as the row that the path names."""
        raise NotImplementedError

    def expected(self, caller: Caller, target: str) -> int:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> list[str]:
        return [name for name in NAME.findall(self.path.partition("?")[0]) if name not in SHARED]

    def url(self, ids: Mapping[str, Any]) -> str:
        return "/" + self.path.format_map(ids)

    def filled(self, ids: Mapping[str, Any]) -> Any:
        """The body, with the ids that it names by `{…}`."""
        if not isinstance(self.body, dict):
            return self.body
        return {name: ids.get(str(value).strip("{}"), value) for name, value in self.body.items()}

    def allowed(self, caller: Caller, target: str) -> int:
        """The status for somebody who is known, by what they may see and do."""
        sees = not self.names or caller.sees(target)
        if not sees and not self.is_blind:
            return 404
        if caller.who not in self.roles:
            return self.denied
        if not sees:
            return 404
        return self.others.get("" if caller.waits else caller.who, self.status)


@dataclass(frozen=True)
class Operation(Route):
    """An operation of the API.

    `scope` is that of a token, and `also_scope` one that is asked for after the look-up; `by_key` says that a
    device's key may do it, `is_silent` that what one may not see is not told from what is empty,
    `is_fresh` that whoever has a second factor and an old session must prove again who they are. A GET that
    `starts_work` needs a form's proof as a change does.
    """

    scope: str = ""
    also_scope: str = ""
    by_key: bool = False
    is_silent: bool = False
    is_fresh: bool = False
    starts_work: bool = False

    def looks_up(self, caller: Caller) -> bool:
        return bool(caller.who) or caller.by == "key"

    def expected(self, caller: Caller, target: str) -> int:
        if caller.by == "key":
            return self.of_key(caller, target)
        if not caller.who:
            return 401
        is_old = self.is_fresh and caller.by == SESSION and caller.who in STAFF
        is_change = self.starts_work or self.method not in SAFE
        if caller.waits or is_old or (not caller.proves and is_change):
            return 403
        if (self.scope or ("read" if self.method in SAFE else "write")) not in caller.scopes:
            return 403
        if self.is_silent:
            return self.status
        status = self.allowed(caller, target)
        return 403 if status == self.status and not self.also_scope_in(caller) else status

    def also_scope_in(self, caller: Caller) -> bool:
        return not self.also_scope or self.also_scope in caller.scopes

    def of_key(self, caller: Caller, target: str) -> int:
        """A key posts readings of its own device."""
        if not self.by_key:
            return 403
        if caller.key_of == "disabled" or caller.key_of != target:
            return 404
        return self.status


@dataclass(frozen=True)
class Page(Route):
    """A page, which needs a session unless `is_public`.

    `is_personal`: it is about the caller's own rows, whatever their role. `checks_proof_first`: before the
    permission. `second_factor`: it is closed to staff whose second factor is due. `gone` is the answer to an
    open path that leads nowhere.
    """

    is_form = True
    is_public: bool = False
    is_personal: bool = False
    checks_proof_first: bool = True
    second_factor: bool = True
    gone: int = 404

    def looks_up(self, caller: Caller) -> bool:
        return self.is_public or (caller.by == SESSION and bool(caller.who))

    def expected(self, caller: Caller, target: str) -> int:
        is_in = caller.by == SESSION and bool(caller.who)
        if not caller.proves and self.method == "POST" and self.checks_proof_first:
            return 403
        if (caller.waits and self.second_factor) or not (is_in or self.is_public):
            return 302
        if self.status == 405:
            return 405
        if self.is_public:
            status = self.others.get(caller.who if is_in else "", self.status)
            return self.gone if self.is_open and target not in OWNERS else status
        is_foreign = self.is_personal and caller.who != target
        return 404 if is_foreign else self.allowed(caller, target)

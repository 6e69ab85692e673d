"""Runs the cells of a matrix: a route, a caller and a target each; and compares what must look alike."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from http.cookies import SimpleCookie
from typing import Any

from django.core.cache import cache
from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.views import SpectacularAPIView

from tests.matrix.callers import NOBODY, Caller
from tests.matrix.route import Route
from tests.matrix.stage import TARGETS, Stage

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CONVERTED = re.compile(r"<[^>]+>|{\w+}|\(\?P<\w+>[^)]*\)")
REQUEST_ID = re.compile(rb'"request_id": ?"[^"]*"|<code>[0-9a-f]+-[0-9a-f]+</code>')
PROOF = re.compile(rb'(name="csrfmiddlewaretoken" value=|csrfToken["\']?: ?)"[^"]*"')
WRITE = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?', re.IGNORECASE)
READ = re.compile(r"\s*SELECT(?!.* FOR )", re.IGNORECASE | re.DOTALL)
# The second one has the events.
DATABASES = ("default", "activity")
# What stands in front of a statement that writes: see `users.trail.acting`.
ACTING = re.compile(r"SELECT set_config\('plumbline\.acting', '(?:[^']|'')*', true\); ")
# Of sessions that are refreshed, of counted attempts, and of the trail of refused credentials.
PASSING_TABLES = {
    "django_session",
    "usersessions_usersession",
    "axes_accessattempt",
    "users_attempt_cache",
    "trail_entry",
}
# They differ from request to request; the length, with the request's id.
PASSING = {"X-Request-ID", "Date", "Content-Length"}
Key = tuple[str, str]


def patterns(parts: Iterable[Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The text and the view of each URL pattern."""
    for part in parts:
        path = before + str(part.pattern)
        if isinstance(part, URLResolver):
            yield from patterns(part.url_patterns, path)
        elif isinstance(part, URLPattern):
            yield path, part.callback


def all_patterns() -> list[tuple[str, Any]]:
    return [*patterns(get_resolver().url_patterns)]


def is_api(view: Any) -> bool:
    """Tell an operation from a page; the API's document is shown as one."""
    made_of = getattr(view, "cls", None)
    if made_of is None:
        return False
    return not (made_of.__module__.startswith("drf_spectacular") or issubclass(made_of, SpectacularAPIView))


def api_routes() -> set[Key]:
    """Method and path of each operation."""
    return {
        (method, unnamed(path))
        for path, view in all_patterns()
        if is_api(view)
        for method in view.cls(**view.initkwargs).allowed_methods
        if method in METHODS
    }


def page_routes() -> set[Key]:
    """Each page, asked for and sent a form."""
    paths = {unnamed(path) for path, view in all_patterns() if not is_api(view)}
    return {(method, path) for path in paths for method in ("GET", "POST")}


def unnamed(path: str) -> str:
    """The path with `{}` for each part that varies."""
    path = path if "(?P" in path else path.partition("?")[0]
    return CONVERTED.sub("{}", path.replace("^", "").replace("$", ""))


def without_entry(routes: set[Key], entries: Iterable[Route]) -> set[Key]:
    return routes - {(entry.method, unnamed(entry.path)) for entry in entries}


def differences(stage: Stage, callers: list[Caller], routes: list[Route]) -> list[str]:
    """Cells whose status is not the expected one, and answers that tell the foreign from the missing."""
    cookies = {}
    for caller in callers:
        # The first request notes the use of a credential.
        caller.client.get("/devices/")
        cookies[caller.name] = {name: cookie.value for name, cookie in caller.client.cookies.items()}
    points = {name: transaction.savepoint(name) for name in DATABASES}
    found: list[str] = []
    for route in routes:
        for caller in callers:
            unseen = {}
            for target in targets_of(route, caller):
                # A log-out took them, and is taken back.
                caller.client.cookies = SimpleCookie(cookies[caller.name])
                answer, written = ask(route, caller, stage.ids[target], points)
                found += faults(route, caller, target, answer.status_code, written)
                if not caller.sees(target) and caller.key_of != target and not route.is_open:
                    unseen[target] = shape(answer, stage.ids[target])
            found += [
                f"{route} by {caller.name}: {target} and missing: {difference(told, unseen['missing'])}"
                for target, told in unseen.items()
                if told != unseen.get("missing", told)
            ]
    return found


def strange_parts(stage: Stage, callers: list[Caller], routes: list[Route]) -> list[str]:
    """Cells that name a part, such as a key, of somebody else's thing in a path of one's own.

    They are answered like one whose part is missing, also to those who may see both.
    """
    points = {name: transaction.savepoint(name) for name in DATABASES}
    own = stage.ids["owner"]
    found: list[str] = []
    for route in (route for route in routes if len(route.names) > 1):
        part = route.names[-1]
        for caller in (caller for caller in callers if route.looks_up(caller)):
            told = []
            for target in ("stranger", "missing"):
                ids = own | {part: stage.ids[target][part]}
                answer, written = ask(route, caller, ids, points)
                told.append(shape(answer, ids))
                if written:
                    found.append(f"{route}, {part} of {target}, by {caller.name}: it wrote {written}")
            if told[0] != told[1]:
                found.append(f"{route} by {caller.name}, a strange {part}: {difference(*told)}")
    return found


def faults(route: Route, caller: Caller, target: str, status: int, written: list[str]) -> Iterator[str]:
    place, expected = f"{route} of {target} by {caller.name}", route.expected(caller, target)
    if status != expected:
        yield f"{place}: {status}, not {expected}"
    if status >= 400 and written:
        yield f"{place}: refused, but it wrote {written}"


def targets_of(route: Route, caller: Caller) -> Sequence[str]:
    """All four, but for those who are refused before anything is looked up: of pages, only one compares."""
    if not route.names or (route.is_form and not route.looks_up(caller) and caller.name != NOBODY):
        return TARGETS[:1]
    return TARGETS if route.looks_up(caller) else ("owner", "missing")


class Writes:
    """Notes the tables that statements change, but for the use of credentials."""

    def __init__(self) -> None:
        self.tables: list[str] = []
        self.are_any = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        own = ACTING.sub("", sql, count=1)
        found = WRITE.match(own)
        self.are_any |= found is not None or not READ.match(own)
        done = execute(sql, params, many, context)
        is_change = found is not None and context["cursor"].rowcount > 0
        if found and is_change and found[1] not in PASSING_TABLES and "last_used_at" not in sql:
            self.tables.append(found[1])
        return done


def ask(
    route: Route, caller: Caller, ids: dict[str, Any], points: dict[str, str]
) -> tuple[HttpResponse, list[str]]:
    """Send the request; return the answer and the tables that it changed, and take that back.

    Limits count by address, and all callers have one: after a 429 they count anew.
    """
    answer, written = ask_once(route, caller, ids, points)
    if answer.status_code == 429:
        cache.clear()
        answer, written = ask_once(route, caller, ids, points)
    return answer, written


def ask_once(
    route: Route, caller: Caller, ids: dict[str, Any], points: dict[str, str]
) -> tuple[HttpResponse, list[str]]:
    options: dict[str, Any] = {}
    if route.body is not None:
        options = {"data": route.filled(ids), "content_type": "application/json"}
    if route.is_form:
        options = {"data": route.filled(ids) or {}} if route.method == "POST" else {}
    writes = Writes()
    with ExitStack() as stack:
        for name in DATABASES:
            stack.enter_context(connections[name].execute_wrapper(writes))
        answer = getattr(caller.client, route.method.lower())(route.url(ids), **options)
        answer.told = answer.getvalue()
    if writes.are_any:
        for name, point in points.items():
            transaction.savepoint_rollback(point, name)
    return answer, writes.tables


def shape(answer: HttpResponse, ids: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body without what names the row or the request."""
    # A number counts as an id only within a path: a page has many.
    forms = (rf"/{value}(?=/)" if isinstance(value, int) else re.escape(str(value)) for value in ids.values())
    named = re.compile("|".join(forms))
    headers = {name: named.sub("-", value) for name, value in answer.items() if name not in PASSING}
    body = named.pattern.encode()
    return answer.status_code, headers, PROOF.sub(b"", REQUEST_ID.sub(b"", re.sub(body, b"-", answer.told)))


def difference(told: tuple[Any, ...], missing: tuple[Any, ...]) -> str:
    """The first part that differs; of headers, those, and of a body, from where it differs."""
    one, other = next(pair for pair in zip(told, missing, strict=True) if pair[0] != pair[1])
    if isinstance(one, dict):
        one, other = dict(one.items() - other.items()), dict(other.items() - one.items())
    if isinstance(one, bytes):
        pairs = enumerate(zip(one, other, strict=False))
        same = max(0, next((place for place, (a, b) in pairs if a != b), 0) - 40)
        one, other = one[same:], other[same:]
    return f"{one!r:.120} and {other!r:.120}"

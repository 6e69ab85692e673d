"""The pages of the trail, for staff and admins: to everybody else they do not exist."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from analytics import csv_rows
from analytics.trail_pages.changes import ValueChange, changes_of, text_of, user_ids
from analytics.trail_pages.forms import TrailForm, parse_position, position_text
from users.permissions import signed_in
from users.trail.models import Entry, EntryQuerySet

PAGE_SIZE = 50
FILE_BATCH = 1000
COLUMNS = (
    *("time", "who", "credential", "address", "request", "source", "what", "kind", "thing", "name"),
    *("times", "until", "before", "after"),
)


@require_GET
def trail(request: HttpRequest) -> HttpResponse:
    """Show the newest entries, or those behind a place in the list."""
    form, entries = asked(request)
    after = request.GET.get("after", "")
    position = parse_position(after)
    if after and position is None:
        raise BadRequest
    found = list((entries.after(position) if position else entries)[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    context = {
        "form": form,
        "rows": list(rows_of(shown)),
        "older": position_text(shown[-1].position) if len(found) > PAGE_SIZE else "",
        "is_narrowed": any(form.data.get(name) for name in form.fields),
        "is_behind": position is not None,
    }
    return render(request, "trail/trail.html", context, status=400 if form.errors else 200)


@require_GET
def trail_file(request: HttpRequest) -> StreamingHttpResponse:
    """Stream all entries that the address asks for, newest first."""
    form, entries = asked(request)
    if form.errors:
        raise BadRequest
    lines = csv_rows.lines(COLUMNS, map(csv_row, in_batches(entries)))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="trail-{timezone.now():%Y%m%dT%H%M%SZ}.csv"'
    return response


def asked(request: HttpRequest) -> tuple[TrailForm, EntryQuerySet]:
    """Read the form; none of the entries if it is wrong. Raises Http404."""
    user = signed_in(request)
    if not user.is_staff:
        raise Http404
    form = TrailForm(request.GET, is_admin=user.is_admin)
    entries = Entry.objects.visible_to(user)
    return form, form.narrow(entries) if form.is_valid() else entries.none()


def rows_of(entries: list[Entry]) -> Iterator[tuple[Entry, list[ValueChange]]]:
    """Each entry with its changes, in which users are named; one query for the users of all."""
    users = get_user_model().objects.in_bulk(user_ids(entries))
    logins = {pk: user.get_username() for pk, user in users.items()}
    for entry in entries:
        yield entry, changes_of(entry, logins)


def in_batches(entries: EntryQuerySet) -> Iterator[Entry]:
    """All entries, by short queries: a long one would hold up the database's cleaning."""
    batch = list(entries[:FILE_BATCH])
    while batch:
        yield from batch
        batch = list(entries.after(batch[-1].position)[:FILE_BATCH])


def csv_row(entry: Entry) -> dict[str, Any]:
    until = entry.until.isoformat() if entry.until else ""
    values: Iterable[Any] = (
        *(entry.at.isoformat(), entry.actor, entry.credential, entry.address or "", entry.request_id),
        *(entry.source, entry.what, entry.kind_label, entry.thing, entry.label, entry.times, until),
        *(text_of(entry.before), text_of(entry.after)),
    )
    return dict(zip(COLUMNS, values, strict=True))

from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from analytics.activity import datasets, storage
from analytics.activity.events.event import COMMENT, CREATE_POST, DELETE_POST, LOGIN, LOGOUT
from analytics.activity.forms import ActivityForm

PAGE_SIZE = 50
MOST_COMMENTED = 20
# A day is a point of the chart, so are the idle ones between; of longer periods the last are drawn.
MOST_DAYS = 5000
COUNTED = {
    LOGIN: "Log-ins",
    LOGOUT: "Log-outs",
    CREATE_POST: "Posts written",
    DELETE_POST: "Posts deleted",
    COMMENT: "Comments",
}
SERIES = {"logins": "Log-ins", "logouts": "Log-outs", "blog_actions": "Blog actions"}


def activity(request: HttpRequest) -> HttpResponse:
    """What a person did: by login for staff, of themselves for an owner."""
    form = ActivityForm(request.GET, asker=request.user, now=timezone.now())
    context: dict[str, Any] = {"form": form, "zone": timezone.get_default_timezone()}
    if form.is_valid():
        context |= shown(request, form)
    elif form.is_somebody_elses and not request.user.is_staff:
        raise Http404
    return render(request, "activity/activity.html", context)


def shown(request: HttpRequest, form: ActivityForm) -> dict[str, Any]:
    person, period = form.person, form.period
    days = datasets.general(person, period)
    commented = datasets.comments(person, period)
    counts = storage.current().counts(person.pk, period)
    return {
        "person": person,
        "counts": [(label, counts.get(name, 0)) for name, label in COUNTED.items()],
        "page": Paginator(days[::-1], PAGE_SIZE).get_page(request.GET.get("page")),
        "commented": commented[:MOST_COMMENTED],
        "more_commented": len(commented) - MOST_COMMENTED,
        "chart": chart(days),
        "file_query": urlencode({"login": person.login, **form.bounds, "format": "csv"}),
    }


def chart(days: list[datasets.Row]) -> dict[str, Any] | None:
    """Each series' label and values, and the days as seconds: midnights, as if they were of UTC."""
    if not days:
        return None
    by_date = {day["date"]: day for day in days}
    last = days[-1]["date"]
    first = max(days[0]["date"], last - timedelta(days=MOST_DAYS - 1))
    dates = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return {
        "days": [seconds(day) for day in dates],
        "series": [
            {"label": label, "values": [by_date.get(day, {}).get(name, 0) for day in dates]}
            for name, label in SERIES.items()
        ],
    }


def seconds(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86400

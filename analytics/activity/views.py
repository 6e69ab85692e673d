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
from users.permissions import signed_in

PAGE_SIZE = 50
MAX_POSTS = 20
# The chart has a point for each day, idle ones included; a longer period shows its last days.
MAX_CHART_DAYS = 5000
COUNT_LABELS = {
    LOGIN: "Log-ins",
    LOGOUT: "Log-outs",
    CREATE_POST: "Posts written",
    DELETE_POST: "Posts deleted",
    COMMENT: "Comments",
}
SERIES_LABELS = {"logins": "Log-ins", "logouts": "Log-outs", "blog_actions": "Blog actions"}


def activity(request: HttpRequest) -> HttpResponse:
    """Show a person's activity: anybody's for staff, their own for an owner."""
    form = ActivityForm(request.GET, asker=signed_in(request), now=timezone.now())
    context: dict[str, Any] = {"form": form, "zone": timezone.get_default_timezone()}
    if form.is_valid():
        context |= results(request, form)
    elif form.is_about_another and not request.user.is_staff:
        raise Http404
    return render(request, "activity/activity.html", context)


def results(request: HttpRequest, form: ActivityForm) -> dict[str, Any]:
    person, period = form.person, form.period
    days = datasets.general(person, period)
    commented = datasets.comments(person, period)
    counts = storage.current().counts(person.pk, period)
    return {
        "person": person,
        "counts": [(label, counts.get(name, 0)) for name, label in COUNT_LABELS.items()],
        "page": Paginator(days[::-1], PAGE_SIZE).get_page(request.GET.get("page")),
        "commented": commented[:MAX_POSTS],
        "more_commented": len(commented) - MAX_POSTS,
        "chart": chart(days),
        "file_query": urlencode({"login": person.login, **form.bounds, "format": "csv"}),
    }


def chart(days: list[datasets.Row]) -> dict[str, Any] | None:
    """Return labels and values of the series, and the days as seconds since 1970, at midnight UTC."""
    if not days:
        return None
    by_date = {day["date"]: day for day in days}
    last = days[-1]["date"]
    first = max(days[0]["date"], last - timedelta(days=MAX_CHART_DAYS - 1))
    dates = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return {
        "days": [seconds(day) for day in dates],
        "series": [
            {"label": label, "values": [by_date.get(day, {}).get(name, 0) for day in dates]}
            for name, label in SERIES_LABELS.items()
        ],
    }


def seconds(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86400

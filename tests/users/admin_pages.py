"""Clients, URLs and rows for tests of Django admin."""

import re
from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from axes.models import AccessAttempt
from django.db import connection, connections
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.activity.models import Blog, EventType, Log, PendingEvent, Post, SpaceType
from analytics.models import Analysis, Calculation, Status
from devices.models import Device, DeviceKey, DeviceProfile, Exclusion, Import, Reading
from tests.support import factories
from users.models import Token, User

EVERYTHING = {"add", "change", "delete", "history"}
# Pages of each model. Staff see none of those in FOR_ADMINS.
PAGES: dict[type[Model], set[str]] = {
    User: EVERYTHING,
    Token: EVERYTHING - {"delete"},
    AccessAttempt: EVERYTHING - {"add"},
    Authenticator: EVERYTHING - {"add"},
    DeviceProfile: EVERYTHING,
    Device: EVERYTHING,
    DeviceKey: EVERYTHING - {"delete"},
    Reading: set(),
    Import: EVERYTHING - {"add", "delete"},
    Exclusion: EVERYTHING - {"add", "delete"},
    Analysis: EVERYTHING - {"add"},
    Calculation: EVERYTHING - {"add", "delete"},
    TaskResult: EVERYTHING - {"add", "delete"},
    Blog: EVERYTHING,
    Post: EVERYTHING,
    PendingEvent: EVERYTHING - {"add", "delete"},
    Log: EVERYTHING - {"add", "delete"},
    EventType: EVERYTHING - {"add", "delete"},
    SpaceType: EVERYTHING - {"add", "delete"},
}
FOR_ADMINS = {User, Token, AccessAttempt, Authenticator}
CREDENTIAL = re.compile(r"pl[td]_[0-9a-f]{8}\.[\w-]{43}")


def shown_once(response: HttpResponse) -> list[str]:
    """The credentials in the text of an answer; no header and no cookie has them."""
    texts = list(dict.fromkeys(CREDENTIAL.findall(response.content.decode())))
    elsewhere = f"{dict(response.headers)} {response.cookies}"
    assert not [text for text in texts if text in elsewhere]
    return texts


def client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(model: type[Model], page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def row(model: type[Model]) -> Model:
    """Create a row of each kind and return that of `model`."""
    device = factories.device(profile=factories.profile(f"profile-{DeviceProfile.objects.count()}", ["x"]))
    factories.readings(device, [(1.0,), (2.0,)])
    result = TaskResult.objects.create(task_id=str(device.uuid), result="{}", status="SUCCESS")
    rows: dict[type[Model], Model] = {
        User: device.owner,
        Token: factories.token(device.owner)[0],
        AccessAttempt: AccessAttempt.objects.create(username=device.uuid.hex, failures_since_start=1),
        Authenticator: Authenticator.objects.create(user=device.owner, type="totp", data={"secret": "x"}),
        # One in use cannot be deleted.
        DeviceProfile: factories.profile(f"unused-{device.pk}", ["x"]),
        Device: device,
        DeviceKey: DeviceKey.issue(device=device)[0],
        Reading: device,
        Import: Import.objects.create(name="a.csv", digest=device.uuid.hex, started_at=timezone.now()),
        Exclusion: factories.exclusion(device),
        Analysis: Analysis.objects.create(device=device, status=Status.FINISHED, task_result=result),
        Calculation: Calculation.objects.create(
            kernel="well", kernel_version="1", parameters={"lag": 1}, seed=1, asked_by=device.owner
        ),
        TaskResult: result,
        **activity_rows(),
    }
    return rows[model]


def activity_rows() -> dict[type[Model], Model]:
    factories.event_types()
    post = factories.post()
    factories.log(post.author, "comment", of=post.pk)
    now = timezone.now()
    return {
        Blog: post.blog,
        Post: post,
        PendingEvent: PendingEvent.objects.create(user_id=post.author_id, name="login", at=now),
        Log: Log.objects.first(),
        EventType: EventType.objects.first(),
        SpaceType: SpaceType.objects.first(),
    }


def changelist(model: type[Model], made: Model) -> str:
    query = f"?device__id__exact={made.pk}" if model is Reading else ""
    return url(model, "changelist") + query


def queries_of(ask: Callable[[], HttpResponse]) -> list[str]:
    logs = connections["activity"]
    with CaptureQueriesContext(connection) as queries, CaptureQueriesContext(logs) as of_logs:
        assert ask().status_code == 200
    return [query["sql"] for query in [*queries, *of_logs]]


def choose(client: Client, model: type[Model], action: str, *rows: Model, **fields: str) -> HttpResponse:
    """Run an action on rows of a list; return the next page."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    return client.post(url(model, "changelist"), data, follow=True)

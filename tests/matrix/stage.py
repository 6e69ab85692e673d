"""The rows that requests are about: of an owner, of a stranger, of somebody deleted, and of nobody."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.analyses.compute import compute_analysis
from analytics.calculations.request import calculation_from
from analytics.models import Analysis, Calculation, Status
from devices.imports import preview, uploaded_file
from devices.imports.models import Upload
from devices.models import Device, DeviceKey
from tests.support import factories
from users.models import Invitation, User

OWNERS = ("owner", "stranger")
TARGETS = (*OWNERS, "deleted", "missing")
FILE = "device,time,x,y,z\nPump,2026-01-01T00:00:00Z,1,2,3\n"
WELL = {"date_start": "2026-01-01", "date_fin": "2026-01-07", "lag": 1}
# What is nobody's, and what nobody has.
SHARED_IDS = {
    "profile": "xyz",
    "object": 987_654_321,
    "app": "devices",
    "rest": "nothing",
    "action": "stop",
    "provider": "none",
}
# Nothing has these ids.
NO_NUMBER, NO_UUID, NO_PREFIX = 2**40, UUID("00000000-0000-4000-8000-000000000000"), "pl_00000000"


@dataclass
class Stage:
    """People and their rows; `ids` of the rows by target, and by the name that routes use."""

    people: dict[str, User] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    ids: dict[str, dict[str, Any]] = field(default_factory=dict)
    due: User = field(init=False)

    def __post_init__(self) -> None:
        self.people = {
            "admin": factories.admin(),
            "staff": factories.colleague(),
            "owner": factories.owner(),
            "stranger": factories.stranger(),
        }
        self.due = factories.colleague()
        for who in ("admin", "staff"):
            # The second factor is asked of staff in all tests: these have one.
            factor = {"type": Authenticator.Type.TOTP, "data": {}}
            Authenticator.objects.create(user=self.people[who], **factor)
        factories.event_types()
        for who in OWNERS:
            self.ids[who] = self.rows_of(self.people[who], who)
        leaver = factories.owner()
        self.ids["deleted"] = self.rows_of(leaver, "deleted")
        delete(leaver, self.ids["deleted"])
        self.ids["missing"] = {name: none_of(value) for name, value in self.ids["owner"].items()} | SHARED_IDS
        self.devices["second"] = factories.device(self.people["owner"])
        self.devices["disabled"] = factories.device(self.people["owner"], is_active=False)

    def rows_of(self, user: User, who: str) -> dict[str, Any]:
        device = factories.device(user, external_id=f"pump of {user.login}")
        self.devices[who] = device
        factories.readings(device, [(1.0, 2.0, 3.0)])
        binned = factories.device(user)
        binned.put_into_bin(timezone.now())
        token, key = factories.token(user)[0], DeviceKey.issue(device=device)[0]
        invitation, secret = Invitation.issue(
            email=f"{user.login}@guests.example", invited_by=self.people["admin"]
        )
        upload = uploaded_file.keep([FILE.encode()], name="a.csv", by=user)
        preview.guess_all(upload, self.people["admin"])
        blog = factories.blog(user)
        calculation = calculation_of(user)
        return {
            "user": user.pk,
            "device": device.uuid,
            "binned": binned.uuid,
            "key": key.prefix,
            "token": token.prefix,
            "exclusion": factories.exclusion(device).pk,
            "sensor": device.external_id,
            "task": finished(Analysis(device=device, asked_by=user)),
            "fleet_task": finished(Analysis(user=user, asked_by=user)),
            "open_task": opened(Analysis(device=device, asked_by=user)),
            "calculation": calculation.pk,
            "blog": blog.pk,
            "post": factories.post(user, blog=blog).pk,
            "upload": upload.pk,
            "invitation": invitation.prefix,
            "secret": secret,
            "login": user.login,
            **SHARED_IDS,
        }


def delete(leaver: User, ids: dict[str, Any]) -> None:
    """Delete a user with all their rows, and those that would stay."""
    Invitation.objects.filter(prefix=ids["invitation"]).delete()
    Upload.objects.filter(pk=ids["upload"]).delete()
    Calculation.objects.filter(pk=ids["calculation"]).delete()
    Device.everything.get(uuid=ids["binned"]).erase()
    leaver.delete_or_deactivate(purge=True)


def finished(analysis: Analysis) -> UUID:
    analysis.save()
    result = json.dumps(compute_analysis(analysis, timezone.now(), lambda _: None).result)
    analysis.task_result = TaskResult.objects.create(task_id=str(analysis.pk), result=result)
    analysis.status, analysis.finished_at = Status.FINISHED, timezone.now()
    analysis.save()
    return analysis.pk


def opened(analysis: Analysis) -> UUID:
    analysis.sent_at = timezone.now()
    analysis.save()
    return analysis.pk


def calculation_of(user: User) -> Calculation:
    calculation = calculation_from(dict(WELL), user)
    calculation.asked_by = user
    calculation.status, calculation.finished_at = Status.FINISHED, timezone.now()
    calculation.save()
    return calculation


def none_of(value: Any) -> Any:
    """A value of the same form that no row has."""
    if isinstance(value, UUID):
        return NO_UUID
    return NO_NUMBER if isinstance(value, int) else NO_PREFIX

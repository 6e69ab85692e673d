"""Changes of rows get into the trail however they are made, with who made them, and without secrets."""

import json
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from analytics.models import Analysis, Calculation
from devices.models import Device, DeviceKey, DeviceProfile
from tests.account.people import PASSWORD, logged_in, person
from tests.support import factories
from users.models import Credential, Role, Token, User
from users.trail.kinds import KINDS
from users.trail.models import Entry, forget

pytestmark = pytest.mark.django_db


def execute(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def of(thing: str) -> list[Entry]:
    """The entries of a thing, oldest first."""
    return list(Entry.objects.filter(thing=thing).order_by("at", "id"))


def test_a_bulk_change_is_noted_row_by_row_with_before_and_after():
    user, heir = factories.owner(), factories.owner()
    devices = [factories.device(user), factories.device(user)]
    Device.objects.filter(owner=user).update(owner=heir, name="Moved")
    for device in devices:
        created, changed = of(f"device:{device.pk}")
        assert (created.action, created.before, created.after["owner_id"]) == ("created", None, user.pk)
        assert (changed.action, changed.label) == ("changed", "Moved")
        assert changed.before == {"owner_id": user.pk, "name": "Pump"}
        assert changed.after == {"owner_id": heir.pk, "name": "Moved"}


def test_plain_sql_is_noted_with_the_role_of_the_database():
    user = factories.owner()
    execute("UPDATE users_user SET role = 'admin' WHERE id = %s", user.pk)
    execute("DELETE FROM users_user WHERE id = %s", user.pk)
    changed, deleted = of(f"user:{user.pk}")[1:]
    assert (changed.before, changed.after) == ({"role": "owner"}, {"role": "admin"})
    assert (deleted.action, deleted.after, deleted.before["login"]) == ("deleted", None, user.login)
    assert changed.source == f"SQL as {connection.settings_dict['USER']}"


def test_an_emptied_table_is_noted():
    execute("TRUNCATE devices_exclusion")
    newest = Entry.objects.filter(kind="exclusion").first()
    assert (newest.action, newest.thing) == ("emptied", "")


def test_a_change_by_the_api_names_user_token_address_and_request():
    admin = factories.admin()
    token, text = factories.token(admin)
    user = factories.owner()
    answer = Client(REMOTE_ADDR="203.0.113.7").patch(
        f"/users/{user.pk}/",
        json.dumps({"role": "staff"}),
        "application/json",
        headers={"Authorization": f"Token {text}"},
    )
    assert answer.status_code == 200, answer.content
    entry = of(f"user:{user.pk}")[-1]
    assert (entry.actor_id, entry.actor, entry.credential) == (admin.pk, admin.login, token.prefix)
    assert (entry.address, entry.source) == ("203.0.113.7", "PATCH /users/<int:pk>/")
    assert entry.after == {"role": "staff"}


def test_a_change_by_a_page_names_who_is_logged_in():
    admin = person(Role.ADMIN)
    client = logged_in(admin)
    key = factories.device().keys.create(prefix="pld_12345678", digest="d")
    client.post("/admin/devices/devicekey/", {"action": "revoke", "_selected_action": key.pk, "index": 0})
    entry = of(f"device_key:{key.pk}")[-1]
    assert (entry.actor, entry.action, list(entry.after)) == (admin.login, "changed", ["revoked_at"])
    assert entry.parent == f"device:{key.device_id}"
    assert entry.source == "POST /admin/devices/devicekey/"


def test_a_text_with_quotes_and_percent_signs_names_who_acts_as_it_is():
    admin = factories.admin(login="o'brien-100%s-\\u0027")
    _, text = factories.token(admin)
    user = factories.owner()
    Client().delete(f"/users/{user.pk}/", headers={"Authorization": f"Token {text}"})
    assert of(f"user:{user.pk}")[-1].actor == admin.login


def test_no_secret_gets_into_the_trail():
    user = person()
    client = logged_in(user)
    form = {"oldpassword": PASSWORD, "password1": "plumb-8-lines", "password2": "plumb-8-lines"}
    assert client.post("/portal/account/password/change/", form).status_code == 302
    token, text = factories.token(user)
    key, key_text = DeviceKey.issue(device=factories.device(user))
    user.authenticator_set.create(type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
    user.authenticator_set.update(data={"secret": "KRSXG5CTMVRXEZLU"})
    user.refresh_from_db()
    written = json.dumps(list(Entry.objects.values("before", "after", "label", "source", "credential")))
    secrets = (text.partition(".")[2], key_text.partition(".")[2], token.digest, key.digest, user.password)
    for secret in (*secrets, "plumb-8-lines", "JBSWY3DPEHPK3PXP", "KRSXG5CTMVRXEZLU"):
        assert secret not in written
    # But that they changed is in it.
    assert {"password": "hidden"} in [entry.after for entry in of(f"user:{user.pk}")]
    assert Entry.objects.filter(kind="second_factor", after={"data": "hidden"}).exists()


def test_the_last_use_of_a_credential_is_no_event():
    _, text = factories.token(user := factories.owner())
    key, _ = DeviceKey.issue(device=factories.device(user))
    before = Entry.objects.count()
    now = timezone.now()
    Token.find(text, now).note_use(now)
    DeviceKey.note_uses([key.pk], now)
    User.objects.filter(pk=user.pk).update(last_login=now)
    assert Entry.objects.count() == before
    # But nothing hides behind it.
    DeviceKey.objects.filter(pk=key.pk).update(last_used_at=now + timedelta(minutes=2), expires_at=now)
    assert list(of(f"device_key:{key.pk}")[-1].after) == ["expires_at"]


def test_each_kind_has_its_triggers_and_each_credential_its_kind():
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT tgrelid::regclass::text, split_part(encode(tgargs, 'escape'), '\\000', 1), count(*)
            FROM pg_trigger WHERE tgname LIKE 'trail%' AND tgrelid <> 'trail_entry'::regclass GROUP BY 1, 2"""
        )
        triggers = cursor.fetchall()
    # Of some only the deletion, which has two.
    deletions = {"blog", "post", "analysis", "calculation"}
    assert {kind: count for _, kind, count in triggers} == {
        kind: 2 if kind in deletions else 3 for kind in KINDS
    }
    tables = {table for table, *_ in triggers}
    assert {model._meta.db_table for model in (*Credential.__subclasses__(), DeviceProfile)} <= tables


def test_who_deletes_a_post_is_named_beside_its_author():
    author, staff = factories.owner(), factories.colleague()
    post = factories.post(author)
    _, text = factories.token(staff)
    answer = Client().delete(f"/api/posts/{post.pk}/", headers={"Authorization": f"Token {text}"})
    assert answer.status_code == 204
    [entry] = of(f"post:{post.pk}")
    assert (entry.action, entry.actor, entry.label, entry.parent) == (
        *("deleted", staff.login, post.header),
        f"blog:{post.blog_id}",
    )
    assert entry.before["author_id"] == author.pk
    assert "text" not in entry.before
    post.blog.delete()
    assert [entry.label for entry in of(f"blog:{post.blog_id}")] == [post.blog.name]


def test_deleted_runs_are_noted_without_what_may_be_large():
    user = factories.owner()
    device = factories.device(user)
    analysis = Analysis.objects.create(device=device, counts={"1": 2}, asked_by=user, status="finished")
    run = Calculation.objects.create(name="Well", kernel="well", parameters={}, seed=1, asked_by=user)
    # A deleted row has no key any more.
    things = (f"analysis:{analysis.pk}", f"calculation:{run.pk}")
    for each in (analysis, run):
        each.delete()
    [of_analysis], [of_run] = map(of, things)
    assert (of_analysis.parent, of_analysis.before["asked_by_id"]) == (f"device:{device.pk}", user.pk)
    assert not {"counts", "snapshot"} & of_analysis.before.keys()
    assert (of_run.label, of_run.parent, of_run.action) == ("Well", f"user:{user.pk}", "deleted")


def test_a_cleared_device_is_noted():
    device = factories.device()
    device.clear()
    assert of(f"device:{device.pk}")[-1].action == "cleared"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trail_entry SET actor = 'nobody'",
        "DELETE FROM trail_entry",
        "TRUNCATE trail_entry",
        "SELECT trail_forget(29)",
        # The switch of `trail_forget` opens nothing of the last 30 days.
        "SELECT set_config('plumbline.forgetting', 'on', true); DELETE FROM trail_entry",
    ],
)
def test_nothing_changes_or_deletes_an_entry(statement):
    factories.owner()
    before = list(Entry.objects.values())
    with pytest.raises(DatabaseError, match=r"only ever added to|at least 30 days"), transaction.atomic():
        execute(statement)
    assert list(Entry.objects.values()) == before


def test_old_entries_are_forgotten_and_no_others():
    now = timezone.now()
    for days in (40, 20):
        Entry.objects.create(at=now - timedelta(days=days), action="cleared", kind="device", thing="device:0")
    while forget(30):
        pass
    assert [entry.at for entry in of("device:0")] == [now - timedelta(days=20)]

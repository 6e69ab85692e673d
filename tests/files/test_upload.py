"""The import page: who may use it, and what it answers."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from devices.models import Import
from tests.files.command import stamp, stored, values
from tests.support import factories
from tests.support.factories import colleague, device, owner, profile
from users.models import Role

pytestmark = pytest.mark.django_db


class TestUpload:
    URL = "/portal/import/"

    def staff(self) -> Client:
        client = Client()
        client.force_login(colleague())
        return client

    def post(self, client: Client, content: str, name: str = "readings.csv", **fields: object) -> str:
        response = client.post(self.URL, {"file": SimpleUploadedFile(name, content.encode()), **fields})
        assert response.status_code == 200
        return response.content.decode()

    def test_a_file_is_stored_once(self):
        client, pump = self.staff(), device()
        content = f"timestamp,x,y,z\n{stamp(0)},1,2,3\n"
        assert "Stored: 1 readings." in self.post(client, content, device=pump.uuid)
        assert "This file was imported before" in self.post(client, content, device=pump.uuid)
        assert values(pump) == [[1, 2, 3]]

    def test_sensors_of_an_owner_and_a_format_that_is_said(self):
        client, holder = self.staff(), owner()
        profile("scalar", ["value"])
        line = json.dumps({"sensor": "boiler", "timestamp": stamp(0), "value": 1})
        page = self.post(client, line, "export.txt", owner=holder.login, format="ndjson")
        assert "Stored: 1 readings." in page
        assert holder.devices.get().external_id == "boiler"

    def test_bad_lines_are_shown_by_number_and_escaped(self):
        client, pump = self.staff(), device()
        path = f"device,timestamp,x,y,z\n{pump.uuid},{stamp(0)},1,2,3\n<script>,{stamp(0)},1,2,3\n"
        page = self.post(client, path)
        assert "Good: 1 readings. Nothing was stored." in page
        assert '<th scope="row">Line 3</th>' in page
        assert "device: There is no such device." in page
        assert not stored(pump)
        assert "Stored: 1 readings." in self.post(client, path, partial="on")

    def test_a_dry_run_stores_nothing(self):
        client, pump = self.staff(), device()
        page = self.post(client, f"timestamp,x,y,z\n{stamp(0)},1,2,3\n", device=pump.uuid, dry_run="on")
        assert "Good: 1 readings. Nothing was stored." in page
        assert not stored(pump)

    @pytest.mark.parametrize(
        ("name", "content", "fields", "message"),
        [
            ("r.txt", "x", {}, "does not end in .csv, .ndjson, .jsonl"),
            ("r.csv", "<b>,timestamp\n", {}, "There is no column device"),
            ("r.csv", "device,timestamp,<b>\n", {}, "Unknown: &#x27;&lt;b&gt;&#x27;"),
            ("r.csv", "", {}, "empty"),
            ("r.csv", "x", {"device": "pump"}, "valid UUID"),
            ("r.csv", "x", {"device": "00000000-0000-4000-8000-000000000000"}, "no such device"),
            ("r.csv", "x", {"owner": "nobody"}, "no such user"),
            ("r.csv", "x", {"format": "xlsx"}, "valid choice"),
        ],
    )
    def test_what_cannot_be_imported(self, name, content, fields, message):
        profile()
        assert message in self.post(self.staff(), content, name, **fields)

    def test_device_and_owner_at_once(self):
        page = self.post(self.staff(), "x", device=device().uuid, owner=owner().login)
        assert "not both" in page
        assert "field is required" in self.staff().post(self.URL).content.decode()

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.STAFF])
    def test_admin_and_staff_may(self, role):
        client = Client(enforce_csrf_checks=True)
        client.force_login(factories.person(role))
        page = client.get(self.URL)
        assert page.status_code == 200
        file = SimpleUploadedFile("r.csv", b"device,timestamp,x,y,z\n")
        assert client.post(self.URL, {"file": file}).status_code == 403
        file.seek(0)
        token = client.cookies["csrftoken"].value
        assert client.post(self.URL, {"file": file, "csrfmiddlewaretoken": token}).status_code == 200

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_nobody_else_may(self, method):
        client, nobody = Client(), Client()
        client.force_login(owner())
        assert getattr(client, method)(self.URL).status_code == 403
        assert getattr(nobody, method)(self.URL).headers["Location"].startswith("/portal/login/")
        assert self.staff().put(self.URL).status_code == 405

    def test_django_admin_shows_imports_and_changes_none(self):
        pump = device()
        client = self.staff()
        self.post(client, "timestamp,x,y,z\n", device=pump.uuid)
        row = Import.objects.get()
        assert "readings.csv" in client.get(reverse("admin:devices_import_changelist")).content.decode()
        page = reverse("admin:devices_import_change", args=[row.pk])
        assert row.digest in client.get(page).content.decode()
        assert client.post(page, {"name": "other"}).status_code == 403
        assert client.get(reverse("admin:devices_import_add")).status_code == 403
        assert client.post(reverse("admin:devices_import_delete", args=[row.pk])).status_code == 403

"""The pages of imports: who may use them, and what they show and do."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.imports.models import Upload, UploadPart
from tests.imports.uploads import HEADER, imported, stored, undone, upload, values, workbook, worked
from tests.support import factories
from tests.support.factories import NOON, colleague, device, owner
from users.models import Role

pytestmark = pytest.mark.django_db
URL = "/portal/import/"
LINE = f"{NOON.isoformat()},1.5,2,3"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(colleague())
    return client


def post_file(client: Client, content: str | bytes, name: str = "readings.csv"):
    data = content.encode() if isinstance(content, str) else content
    return client.post(URL, {"file": SimpleUploadedFile(name, data)})


def fields(page: str) -> dict[str, str]:
    """What a browser would send of the preview's form."""
    found = dict(re.findall(r'<input type="(?:text|search|number)" name="(\w+)" [^>]*?value="([^"]*)"', page))
    for name, options in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', page, re.DOTALL):
        found[name] = re.findall(r'<option value="([^"]*)" selected', options)[0]
    found |= dict(re.findall(r'<input type="radio" name="(device)" value="([^"]*)" checked', page))
    return found


def shown(client: Client, made: Upload, **query: str) -> str:
    response = client.get(f"{URL}{made.pk}/", query)
    assert response.status_code == 200
    return response.content.decode()


def change(client: Client, made: Upload, **changes: str) -> str:
    sent = fields(shown(client, made)) | {"apply": ""} | changes
    response = client.post(f"{URL}{made.pk}/", sent, follow=True)
    assert response.status_code == 200
    return response.content.decode()


class TestUploading:
    def test_nothing_is_stored_before_import_is_pressed(self, client):
        pump = device(name="Pump 3")
        response = post_file(client, f"{HEADER}\n{LINE}\n")
        made = Upload.objects.get()
        assert response.headers["Location"] == f"{URL}{made.pk}/"
        assert (made.name, made.status, made.by.login) == ("readings.csv", "draft", made.by.login)
        page = change(client, made, search="pump 3", find="")
        assert f'value="{pump.uuid}"' in page
        page = change(client, made, device=str(pump.uuid))
        assert '<data class="number" value="1.5"' in page
        assert not stored(pump)
        assert "queued" in change(client, made, start="")
        assert worked(made).stored == 1
        assert values(pump) == [[1.5, 2, 3]]

    def test_import_needs_time_device_and_every_channel(self, client):
        pump = device()
        made = upload(f"{HEADER}\n{LINE}\n")
        page = change(client, made, start="")
        assert "Choose the device, or say which column names it." in page
        change(client, made, device=str(pump.uuid))
        page = change(client, made, role_0="", role_3="", start="")
        assert "Say which column is the time." in page
        assert "Say which column is z" in page
        assert not stored(pump)

    def test_what_was_guessed_can_be_changed(self, client):
        pump = device()
        made = upload("time;x;y;z\n01/02/2026 12:00;1.234;2;3\n", device=pump)
        assert "day or the month first" in shown(client, made)
        page = change(client, made, order="month", decimal=",", is_grouped="on", zone="Europe/Berlin")
        assert '<data class="number" value="1234"' in page
        assert "2026-01-02T11:00:00Z" in page
        page = change(client, made, separator=",")
        assert "Choose the device" not in page
        assert Upload.objects.get().headings == ["time;x;y;z"]

    def test_two_columns_with_one_meaning_are_refused(self, client):
        made = upload(f"{HEADER}\n{LINE}\n", device=device())
        assert "same meaning" in change(client, made, role_1="channel y")

    def test_nonsense_in_the_form_is_named(self, client):
        made = upload(f"{HEADER}\n{LINE}\n", device=device())
        assert "not an IANA time zone" in change(client, made, zone="Mars")
        assert "valid choice" in change(client, made, order="week")
        assert "greater than or equal" in change(client, made, header_row="-1")
        assert "no row 7" in change(client, made, header_row="7")

    def test_a_sheet_is_chosen(self, client):
        pump = device()
        made = upload(
            workbook({"Notes": [["n"]], "Data": [["time", "x", "y", "z"], [NOON.isoformat(), 1, 2, 3]]}),
            device=pump,
        )
        assert "2026-11-21" in change(client, made, sheet="Data")

    def test_the_faulty_cell_is_shown_in_its_row_and_escaped(self, client):
        made = upload(f"{HEADER}\n{NOON.isoformat()},<b>,2,3\n", device=device())
        page = shown(client, made)
        assert '<td class="faulty">&lt;b&gt;<span class="error">Is not a number' in page

    def test_an_earlier_import_of_the_same_file_is_named(self, client):
        pump = device()
        done = imported(f"{HEADER}\n{LINE}\n", device=pump)
        again = upload(f"{HEADER}\n{LINE}\n", device=pump)
        assert f'href="{URL}{done.pk}/"' in shown(client, again)
        undone(done)
        assert f'href="{URL}{done.pk}/"' not in shown(client, again)

    @pytest.mark.parametrize(
        ("content", "message"),
        [("", "empty"), (b"\x89PNG\0\0\0", "neither text nor"), (b"PK\x03\x04", "workbook is broken")],
    )
    def test_what_cannot_be_read_is_not_kept(self, client, content, message):
        assert message in post_file(client, content).content.decode()
        assert not Upload.objects.exists()
        assert "This field is required" in client.post(URL).content.decode()

    def test_the_size_is_bounded(self, client, settings):
        settings.IMPORT_MEBIBYTES = 1
        assert "1 MiB" in post_file(client, b"x," * 600_000).content.decode()
        assert not UploadPart.objects.exists()

    def test_a_file_that_cannot_be_split_can_be_read_otherwise(self, client):
        pump = device()
        made = upload(f"{HEADER}\n" + f"{LINE}\n" * 300 + "y" * 70_000, device=pump)
        change(client, made, start="")
        assert "longer than" in worked(made).error
        page = shown(client, made)
        assert 'name="separator"' in page
        assert "longer than" in page

    def test_a_draft_is_discarded(self, client):
        made = upload(f"{HEADER}\n{LINE}\n")
        assert client.post(f"{URL}{made.pk}/discard/").headers["Location"] == URL
        assert not Upload.objects.exists()
        assert not UploadPart.objects.exists()


def count(page: str, fact: str) -> str:
    [found] = re.findall(rf"<dt>{fact}</dt><dd><data [^>]*>([^<]*)</data>", page)
    return found


class TestReport:
    def test_it_names_counts_and_faulty_cells(self, client):
        done = imported(f"{HEADER}\n{LINE}\n{LINE}\n{NOON.isoformat()},<i>,2,3\n", device=device())
        page = shown(client, done)
        assert [count(page, fact) for fact in ("Stored", "Already there", "Faulty rows")] == ["1", "1", "1"]
        assert '<td class="faulty">&lt;i&gt;</td>' in page
        assert "x: Is not a number" in page
        answer = client.get(f"{URL}{done.pk}/faulty-rows.csv")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="faulty rows of readings.csv"'
        assert answer.getvalue().decode().splitlines()[1].startswith(f"{NOON.isoformat()},<i>,2,3,x: Is not")

    def test_stop_continue_and_undo(self, client):
        pump = device()
        made = upload(f"{HEADER}\n{LINE}\n", device=pump)
        change(client, made, start="")
        client.post(f"{URL}{made.pk}/stop/")
        assert "Go on" in shown(client, worked(made))
        client.post(f"{URL}{made.pk}/continue/")
        assert "Undo this import" in shown(client, worked(made))
        client.post(f"{URL}{made.pk}/undo/")
        assert "Undo queued" in shown(client, made)
        page = shown(client, worked(made))
        assert count(page, "Taken back") == "1"
        assert "Undo this import" not in page
        assert not stored(pump)

    def test_actions_out_of_place_do_nothing(self, client):
        pump = device()
        done = imported(f"{HEADER}\n{LINE}\n", device=pump)
        for action in ("stop", "continue", "discard"):
            assert client.post(f"{URL}{done.pk}/{action}/").status_code == 302
        assert client.post(f"{URL}{done.pk}/burn/").status_code == 404
        assert client.get(f"{URL}{done.pk}/undo/").status_code == 405
        done.refresh_from_db()
        assert (done.status, len(stored(pump))) == ("finished", 1)

    def test_thousands_are_written_as_everywhere(self, client):
        done = imported(f"{HEADER}\n{LINE}\n", device=device())
        Upload.objects.update(rows=60_000, rows_done=60_000, stored=12_345)
        page = shown(client, done)
        assert "60\u202f000 of 60\u202f000 rows. Stored: 12\u202f345 readings." in page
        assert count(page, "Stored") == "12\u202f345"
        Upload.objects.update(job="undo", undone=10_000)
        assert "Taken back: 10\u202f000 of 12\u202f345 readings." in shown(client, done)

    def test_states_for_the_script(self, client):
        made = upload(f"{HEADER}\n{LINE}\n", device=device())
        states = client.get(f"{URL}states/", {"id": [str(made.pk)]}).json()
        assert states == {
            str(made.pk): {"status": "draft", "label": "Not imported yet", "progress": 0, "note": ""}
        }
        assert client.get(f"{URL}states/", {"id": "x"}).status_code == 400


class TestList:
    def test_it_names_file_device_state_counts_and_person(self, client):
        person = colleague(login="marie")
        imported(f"{HEADER}\n{LINE}\n", device=device(name="Pump 9"), by=person)
        page = client.get(URL).content.decode()
        for text in ("readings.csv", "Pump 9", "imported", "by marie"):
            assert text in page

    def test_its_queries_do_not_grow_with_its_rows(self, client):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                client.get(URL)
            return len(captured)

        upload(f"{HEADER}\n{LINE}\n", device=device())
        few = queries()
        for _ in range(10):
            upload(f"{HEADER}\n{LINE}\n", device=device())
        assert queries() == few

    def test_the_queries_of_a_preview_do_not_grow_with_devices(self, client):
        def queries(number: int) -> int:
            lines = [f"{NOON.isoformat()},{device(name=f'P{number}-{i}').name},1,2,3" for i in range(number)]
            made = upload("\n".join(["time,device,x,y,z", *lines]))
            with CaptureQueriesContext(connection) as captured:
                assert "no such device" not in shown(client, made)
            return len(captured)

        assert queries(2) == queries(15)


class TestWhoMay:
    PATHS = ("", "states/?id={}", "{}/", "{}/faulty-rows.csv")
    ACTIONS = ("undo", "stop", "continue", "discard")

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.STAFF])
    def test_admin_and_staff_may_and_need_the_csrf_token(self, role):
        client = Client(enforce_csrf_checks=True)
        client.force_login(factories.person(role))
        assert client.get(URL).status_code == 200
        assert post_file(client, HEADER).status_code == 403
        token = client.cookies["csrftoken"].value
        file = SimpleUploadedFile("r.csv", f"{HEADER}\n".encode())
        assert client.post(URL, {"file": file, "csrfmiddlewaretoken": token}).status_code == 302

    def test_to_owners_the_pages_do_not_exist(self):
        done = imported(f"{HEADER}\n{LINE}\n", device=device())
        client = Client()
        client.force_login(owner())
        for path in self.PATHS:
            assert client.get(URL + path.format(done.pk)).status_code == 404
        assert post_file(client, f"{HEADER}\n{LINE}\n").status_code == 404
        assert client.post(f"{URL}{done.pk}/", {"start": ""}).status_code == 404
        for action in self.ACTIONS:
            assert client.post(f"{URL}{done.pk}/{action}/").status_code == 404
        done.refresh_from_db()
        assert (done.status, done.job) == ("finished", "import")

    def test_nobody_is_sent_to_the_log_in(self):
        done = imported(f"{HEADER}\n{LINE}\n", device=device())
        for path in self.PATHS:
            assert Client().get(URL + path.format(done.pk)).headers["Location"].startswith("/portal/login/")
        assert Client().post(f"{URL}{done.pk}/undo/").headers["Location"].startswith("/portal/login/")

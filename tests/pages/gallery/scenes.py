"""A scene for each page: how to come to it. Its name is that of its picture.

Scenes run in this order, in one session of an admin who has just logged in: later ones use what earlier ones
made.
"""

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.account.codes import code_of
from tests.pages.gallery.subjects import XYZ, Subjects

Scene = Callable[[Page, Subjects], None]
ACCOUNT = "/portal/account/"
CHANNELS = (("temperature", "°C", "-40", "85"), ("humidity", "%", "0", "100"), ("battery", "V", "0", ""))
DEVICE = "/portal/devices/{device}/"


def at(path: str) -> Scene:
    """A page that only needs its address."""

    def scene(page: Page, subjects: Subjects) -> None:
        page.goto(path.format(**subjects.ids))

    return scene


def new_device(page: Page, _: Subjects) -> None:
    page.goto("/portal/devices/new/")
    page.get_by_label("Name", exact=True).fill("Weather mast")
    page.get_by_role("radio", name=re.compile(r"^xyz\b")).check()


def new_profile(page: Page, _: Subjects) -> None:
    page.goto("/portal/profiles/new/")
    page.get_by_label("Name", exact=True).fill("weather")
    page.get_by_label("Description").fill("A mast on a field.")
    page.get_by_role("button", name="Add a channel").click()
    for number, texts in enumerate(CHANNELS):
        for label, text in zip(("Channel", "Unit", "Minimum", "Maximum"), texts, strict=True):
            page.get_by_label(label, exact=True).nth(number).fill(text)


def connect_waiting(page: Page, subjects: Subjects) -> None:
    new_device(page, subjects)
    page.get_by_role("button", name="Add device").click()
    expect(page.get_by_text("Waiting for the first reading…")).to_be_visible()
    subjects.ids["new_device"] = re.search(
        r"/devices/([0-9a-f-]{36})/", page.locator("pre").first.inner_text()
    )[1]


def connect_refused(page: Page, subjects: Subjects) -> None:
    """Still the same page: it learns of the post by itself."""
    subjects.api("POST", f"/devices/{subjects.ids['new_device']}/stats/", XYZ | {"temp": 1}, status=400)
    expect(page.get_by_text("temp: Unknown channel")).to_be_visible()


def connect_connected(page: Page, subjects: Subjects) -> None:
    subjects.api("POST", f"/devices/{subjects.ids['new_device']}/stats/", XYZ)
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()


def statistics(page: Page, subjects: Subjects) -> None:
    at(f"{DEVICE}statistics/")(page, subjects)
    page.get_by_label("Percentiles").fill("5,95")
    page.get_by_label("Bucket").select_option("day")
    page.get_by_role("button", name="Analyse", exact=True).click()
    expect(page.locator("[data-runs] table").first).to_be_visible()


def import_preview(page: Page, subjects: Subjects) -> None:
    """A file as a logger writes it, with a faulty cell."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    rows = [f"{start + i * timedelta(minutes=1):%d.%m.%Y %H:%M};{20 + i % 9},5;1,25;{i}" for i in range(90)]
    rows[3] = rows[3].replace(";1,25;", ";defect;")
    text = "\r\n".join(["Time;X [mm];Y [mm];Z [mm]", *rows, ""])
    page.goto("/portal/import/")
    file = {"name": f"Logger {secrets.token_hex(2)}.csv", "mimeType": "text/csv", "buffer": text.encode()}
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.get_by_label("Search by name, id or owner").fill(subjects.ids["new_device"])
    page.get_by_role("button", name="Search").click()
    page.get_by_role("radio", name="Weather mast").check()
    page.get_by_role("button", name="Choose").click()
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_enabled()


def import_result(page: Page, _: Subjects) -> None:
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("button", name="Undo this import")).to_be_visible()


def tokens(page: Page, _: Subjects) -> None:
    page.goto(f"{ACCOUNT}tokens/")
    page.get_by_label("Name").fill("nightly export")
    page.get_by_role("button", name="Create a token").click()
    expect(page.get_by_role("status").locator("code")).to_be_visible()


def invitations(page: Page, subjects: Subjects) -> None:
    page.goto(f"{ACCOUNT}invitations/")
    page.get_by_label("Email").fill(f"grete.{secrets.token_hex(2)}@example.com")
    page.get_by_role("button", name="Invite").click()
    subjects.ids["invitation"] = page.get_by_role("status").locator("code").inner_text()


def authenticator_app(page: Page, subjects: Subjects) -> None:
    page.goto(f"{ACCOUNT}2fa/totp/activate/")
    subjects.ids["secret"] = page.locator("code.secret").inner_text()


def recovery_codes(page: Page, subjects: Subjects) -> None:
    page.get_by_label("code", exact=False).fill(code_of(subjects.ids["secret"], steps=-1))
    page.get_by_role("button", name="Activate").click()
    expect(page.locator(".codes li")).to_have_count(10)


def second_step(page: Page, subjects: Subjects) -> None:
    """Log in again, up to the code of the second factor."""
    page.goto("/portal/login/")
    page.get_by_label("Login").fill(subjects.login)
    page.get_by_label("Password").fill(subjects.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Code")).to_be_visible()


def deleted(page: Page, subjects: Subjects) -> None:
    """Delete another device, and see it in the bin."""
    page.goto(f"/portal/devices/{subjects.ids['spare']}/delete/")
    page.get_by_label("Name", exact=False).fill(subjects.ids["spare_name"])
    page.get_by_role("button", name="Delete").click()
    at("/portal/devices/bin/")(page, subjects)


def swagger(page: Page, _: Subjects) -> None:
    page.goto("/docs")
    expect(page.get_by_text("Post one reading of a device").first).to_be_visible()


SCENES: dict[str, Scene] = {
    # First, as they ask for the password again some minutes after the log-in.
    "account-app": authenticator_app,
    "account-recovery-codes": recovery_codes,
    "account-second-factor": at(f"{ACCOUNT}2fa/"),
    "account-key-new": at(f"{ACCOUNT}2fa/webauthn/add/"),
    "account-tokens": tokens,
    "account-invitations": invitations,
    "account-profile": at(ACCOUNT),
    "account-email": at(f"{ACCOUNT}email/"),
    "account-password": at(f"{ACCOUNT}password/change/"),
    "account-sessions": at(f"{ACCOUNT}sessions/"),
    "account-reauthenticate": at(f"{ACCOUNT}reauthenticate/"),
    "devices": at("/portal/devices/"),
    "device-new": new_device,
    "profile-new": new_profile,
    "connect-waiting": connect_waiting,
    "connect-refused": connect_refused,
    "connect-connected": connect_connected,
    "device-live": at(DEVICE),
    "device": at(f"{DEVICE}?from=now-24h&to=now&compare=before"),
    "device-readings": at(f"{DEVICE}readings/"),
    "device-statistics": statistics,
    "device-exclusions": at(f"{DEVICE}exclusions/"),
    "device-runs": at(f"{DEVICE}runs/"),
    "device-connect": at(f"{DEVICE}connect/"),
    "device-settings": at(f"{DEVICE}settings/"),
    "device-delete": at(f"{DEVICE}delete/"),
    "bin": deleted,
    "import-preview": import_preview,
    "import-result": import_result,
    "imports": at("/portal/import/"),
    "analyses": at("/portal/analyses/"),
    "analysis": at("/portal/analyses/{analysis}/"),
    "calculations": at("/portal/calculations/"),
    "calculation-new": at("/portal/calculations/new/"),
    "calculation": at("/portal/calculations/{calculation}/"),
    "calculation-compare": at("/portal/calculations/{calculation}/compare/?with={other_calculation}"),
    "activity": at("/portal/activity/?login={person}&last=30"),
    "trail": at("/portal/trail/?kind=device"),
    "error": at("/portal/nothing/"),
    "api-docs": swagger,
    "admin": at("/admin/"),
}
# As somebody who is not logged in.
STRANGERS_SCENES: dict[str, Scene] = {
    "log-in": at("/portal/login/"),
    "log-in-second-step": second_step,
    "password-forgotten": at(f"{ACCOUNT}password/reset/"),
    "invitation": at("{invitation}"),
}

"""From log-in to the first reading in a real browser: add a device, connect it, or see why not."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import Locator, Page, expect

from tests.pages.browser import Account, Visit, same_document
from tests.pages.devices.test_device_pages import hide
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser

WRONG_KEY = "pld_00000000.bm8gc3VjaCBrZXkgYXMgdGhpcyBvbmUgaXMgdGhlcmU"
XYZ = {"x": 1, "y": 2, "z": 3}
STATS = r"/devices/([0-9a-f-]{36})/stats/"
# Stands for the board: a network that is there, and CPython's own `requests`.
BOARD = """
STA_IF = 0
class WLAN:
    def __init__(self, interface): pass
    def active(self, on): pass
    def connect(self, name, password): pass
    def isconnected(self): return True
"""
# As much of Arduino as the request needs, to let a compiler read it.
ARDUINO = """
#include <cstdio>
#include <string>
struct String {
  std::string text;
  String(const char *t) : text(t) {}
  String(double v, int places) : text(std::to_string(v)) {}
  String operator+(const String &o) const { return String((text + o.text).c_str()); }
  String operator+(const char *o) const { return String((text + o).c_str()); }
  const char *c_str() const { return text.c_str(); }
};
inline String operator+(const char *a, const String &b) { return String(a) + b; }
struct Port {
  void begin(long) {}
  template <class... T> void printf(const char *f, T... t) { ::printf(f, t...); }
};
static Port Serial;
inline void delay(int) {}
enum { WL_CONNECTED = 3 };
struct Radio { void begin(const char *, const char *) {} int status() { return WL_CONNECTED; } };
static Radio WiFi;
struct WiFiClientSecure { void setCACert(const char *) {} };
struct HTTPClient {
  bool begin(const char *) { return true; }
  bool begin(WiFiClientSecure &, const char *) { return true; }
  void addHeader(const char *, const char *) {}
  int POST(const String &body) { return body.text.size(); }
  String getString() { return String(""); }
  void end() {}
};
"""


def add_device(page: Page, name: str = "") -> Sender:
    """Add a device on the pages, and stay on its Connect page."""
    page.goto("/portal/devices/")
    page.get_by_role("link", name="Add device").click()
    page.get_by_label("Name", exact=True).fill(name or f"Pump {secrets.token_hex(4)}")
    page.get_by_role("radio", name=re.compile(r"^xyz\b")).check()
    page.get_by_role("button", name="Add device").click()
    key = page.locator("#key").inner_text()
    return Sender(re.search(STATS, page.locator("pre").first.inner_text())[1], key)


def request_of(page: Page, language: str) -> str:
    """The text of a request as a person copies it."""
    return page.get_by_label(language, exact=True).and_(page.locator("pre")).text_content()


def signal(page: Page) -> Locator:
    return page.locator("[data-connection] .signal")


def run(*command: str | Path, folder: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_the_log_in_to_the_first_reading(visit: Visit, owner_account: Account, tmp_path: Path) -> None:
    page = visit(owner_account, timezone_id="Asia/Tokyo")
    page.get_by_role("link", name="Add device").click()
    expect(page.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
    expect(page.get_by_label("Owner")).to_have_count(0)
    add_device(page, "Pump 3")
    expect(page.get_by_role("heading", name="Connect Pump 3")).to_be_visible()
    expect(page.get_by_text("Waiting for the first reading…")).to_be_visible()
    (tmp_path / "post.py").write_text(request_of(page, "Python"))
    with same_document(page):
        assert '201 {"status":"ok"}' in run(sys.executable, "post.py", folder=tmp_path)
        expect(signal(page)).to_have_text("Connected")
        expect(page.locator("[data-connection]")).to_contain_text("1.5")
    page.get_by_role("link", name="Go to its chart").click()
    expect(page.get_by_text("1 reading")).to_be_visible()
    page.get_by_role("link", name="Connect", exact=True).click()
    expect(signal(page)).to_have_text("Connected")


class TestRequests:
    """Each request as it stands on the page."""

    def test_curl(self, visit: Visit, owner_account: Account, tmp_path: Path) -> None:
        page = visit(owner_account)
        add_device(page)
        (tmp_path / "post.sh").write_text(request_of(page, "curl"))
        assert run("sh", "post.sh", folder=tmp_path) == '{"status":"ok"}'
        expect(signal(page)).to_have_text("Connected")

    def test_javascript(self, visit: Visit, owner_account: Account, tmp_path: Path) -> None:
        """By the node that Playwright brings."""
        page = visit(owner_account)
        add_device(page)
        (tmp_path / "post.mjs").write_text(request_of(page, "JavaScript"))
        node, *_ = compute_driver_executable()
        assert '201 {"status":"ok"}' in run(node, "post.mjs", folder=tmp_path)
        expect(signal(page)).to_have_text("Connected")

    def test_micropython(self, visit: Visit, owner_account: Account, tmp_path: Path) -> None:
        """By CPython, with a board's network that is always there."""
        page = visit(owner_account)
        add_device(page)
        (tmp_path / "network.py").write_text(BOARD)
        (tmp_path / "main.py").write_text(request_of(page, "MicroPython"))
        assert '201 {"status":"ok"}' in run(sys.executable, "main.py", folder=tmp_path)
        expect(signal(page)).to_have_text("Connected")

    def test_arduino(self, visit: Visit, owner_account: Account, tmp_path: Path) -> None:
        """A compiler reads it, with as much of Arduino as it names; no board is here to run it."""
        compiler = shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            pytest.skip("No compiler of C++ is installed.")
        page = visit(owner_account)
        device = add_device(page)
        text = request_of(page, "Arduino / ESP32")
        for name in ("WiFi.h", "HTTPClient.h", "WiFiClientSecure.h"):
            (tmp_path / name).write_text("#pragma once\n")
        (tmp_path / "post.cpp").write_text(f"{ARDUINO}{text}")
        run(compiler, "-fsyntax-only", "-I.", "post.cpp", folder=tmp_path)
        assert f'"Device {device.key}"' in text

    def test_powershell(self, portal: Portal, visit: Visit, owner_account: Account) -> None:
        """Only read: there is no PowerShell to run it."""
        page = visit(owner_account)
        device = add_device(page)
        text = request_of(page, "PowerShell")
        assert f'-Uri "{portal.url}/devices/{device.id}/stats/" `\n' in text
        assert f'-Headers @{{ Authorization = "Device {device.key}" }} `\n' in text
        assert '"x" = 1.5\n    "y" = 1.5\n    "z" = 1.5\n}' in text

    def test_a_language_is_shown_at_a_time_and_chosen_by_keyboard_too(
        self, visit: Visit, owner_account: Account
    ) -> None:
        page = visit(owner_account)
        add_device(page)
        shown = page.locator("pre:visible")
        expect(shown).to_have_attribute("aria-label", "curl")
        page.get_by_text("PowerShell", exact=True).click()
        expect(shown).to_have_attribute("aria-label", "PowerShell")
        page.keyboard.press("ArrowRight")
        expect(shown).to_have_attribute("aria-label", "JavaScript")
        expect(shown).to_have_count(1)

    def test_a_request_is_copied(self, visit: Visit, owner_account: Account) -> None:
        page = visit(owner_account, permissions=["clipboard-read", "clipboard-write"])
        device = add_device(page)
        page.get_by_role("button", name="Copy the curl request").click()
        expect(page.locator("[data-copy=snippet-curl]")).to_have_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == request_of(page, "curl")
        page.locator("[data-copy=key]").click()
        expect(page.locator("[data-copy=key]")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == device.key


def test_a_refused_post_is_explained_until_one_is_stored(
    portal: Portal, visit: Visit, owner_account: Account
) -> None:
    page = visit(owner_account)
    device = add_device(page)
    connection = page.locator("[data-connection]")
    path = f"/devices/{device.id}/stats/"
    with same_document(page):
        assert portal.request("POST", path, device_key=WRONG_KEY, json=XYZ).status_code == 401
        expect(connection).to_contain_text("The last post was refused")
        expect(connection).to_contain_text("401 This Device credential is unknown")
        expect(connection).to_contain_text("The key is wrong")
        portal.request("POST", path, device_key=device.key, json=XYZ | {"temp": 1})
        expect(connection).to_contain_text("temp: Unknown channel; there are x, y, z.")
        stamp = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
        portal.request("POST", path, device_key=device.key, json=XYZ | {"timestamp": stamp})
        expect(connection).to_contain_text(re.compile("(3 h 0|2 h 59) min ahead of this server"))
        expect(connection).to_contain_text("clock or its time zone is wrong")
        portal.post_reading(device, **XYZ)
        expect(connection).to_contain_text("Connected")
        expect(connection).not_to_contain_text("refused")


def test_a_key_is_shown_once_and_replaced_with_overlap(
    portal: Portal, visit: Visit, owner_account: Account
) -> None:
    page = visit(owner_account)
    device = add_device(page)
    page.reload()
    expect(page.locator("#key")).to_have_count(0)
    assert device.key not in page.content()
    expect(page.locator("pre").first).to_contain_text("YOUR-DEVICE-KEY")
    page.get_by_label("The present keys stop working").select_option("in a day")
    page.get_by_role("button", name="New key").click()
    new = Sender(device.id, page.locator("#key").inner_text())
    assert new.key != device.key
    for sender in (new, device):
        portal.post_reading(sender, **XYZ)
    page.reload()
    assert new.key not in page.content()
    [(count,)] = portal.query(
        "SELECT count(*) FROM devices_devicekey k JOIN devices_device d ON d.id = k.device_id"
        " WHERE d.uuid = %s",
        device.id,
    )
    assert count == 2
    cookies = str(page.context.cookies())
    assert device.key not in cookies
    assert new.key not in cookies


def test_a_test_reading_is_sent_without_leaving_the_key(visit: Visit, owner_account: Account) -> None:
    page = visit(owner_account)
    add_device(page)
    connection = page.locator("[data-connection]")
    with same_document(page):
        page.get_by_role("button", name="Send a test reading").click()
        expect(connection).to_contain_text("A test reading is stored; statistics leave it out.")
        expect(connection).to_contain_text("Waiting for the first reading…")
        page.get_by_label("Leave it out of statistics").uncheck()
        page.get_by_role("button", name="Send a test reading").click()
        expect(connection).to_contain_text("Connected")
    expect(page.locator("#key")).to_be_visible()


def test_waiting_rests_in_a_hidden_tab(portal: Portal, visit: Visit, owner_account: Account) -> None:
    page = visit(owner_account)
    page.clock.install()
    device = add_device(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    hide(page, True)
    page.clock.run_for(60_000)
    assert asked == []
    portal.post_reading(device, **XYZ)
    hide(page, False)
    expect(signal(page)).to_have_text("Connected")


def test_staff_find_an_owner_and_make_a_profile(
    portal: Portal, visit: Visit, owner: Person, admin_account: Account
) -> None:
    name = f"pump-{secrets.token_hex(4)}"
    page = visit(admin_account)
    page.goto("/portal/devices/new/")
    page.get_by_role("link", name="New profile").click()
    page.get_by_label("Name", exact=True).fill(name)
    for number, channel in enumerate(("energy", "pressure")):
        page.get_by_label("Channel", exact=True).nth(number).fill(channel)
    page.get_by_role("button", name="Add a channel").click()
    page.keyboard.type("temperature")
    page.get_by_label("Unit").nth(2).fill("°C")
    page.get_by_role("button", name="Move up").nth(1).click()
    expect(page.get_by_label("Channel", exact=True).first).to_have_value("pressure")
    expect(page.get_by_role("button", name="Move up").first).to_be_focused()
    first_row = page.locator(".channel-row").first
    page.locator("[data-grip]").nth(2).drag_to(first_row, target_position={"x": 5, "y": 2})
    expect(page.get_by_label("Channel", exact=True).first).to_have_value("temperature")
    page.get_by_role("button", name="Add profile").click()
    expect(page.get_by_role("radio", name=name)).to_be_checked()
    page.get_by_label("Name", exact=True).fill("Of another")
    field = page.get_by_label("Owner")
    field.fill("")
    with page.expect_response("**/portal/devices/owners/**"):
        field.press_sequentially(owner.login[:-1])
    expect(page.locator(f'#owners option[value="{owner.login}"]')).to_have_count(1)
    field.fill(owner.login)
    page.get_by_role("button", name="Add device").click()
    expect(page.locator("pre").first).to_contain_text('{"temperature": 1.5, "pressure": 1.5, "energy": 1.5}')
    device = re.search(STATS, page.locator("pre").first.inner_text())[1]
    assert portal.get(f"/devices/{device}/")["user_id"] == owner.id


def test_all_of_it_works_without_scripts(
    portal: Portal, visit_without_scripts: Visit, owner: Person, admin_account: Account
) -> None:
    name = f"valve-{secrets.token_hex(4)}"
    page = visit_without_scripts(admin_account)
    page.goto("/portal/profiles/new/")
    page.get_by_label("Name", exact=True).fill(name)
    for number, channel in enumerate(("flow", "angle")):
        page.get_by_label("Channel", exact=True).nth(number).fill(channel)
    page.get_by_role("button", name="Move down").first.click()
    expect(page.get_by_label("Channel", exact=True).first).to_have_value("angle")
    page.get_by_role("button", name="Add profile").click()
    expect(page.get_by_role("radio", name=name)).to_be_checked()
    page.get_by_label("Name", exact=True).fill("Valve 1")
    expect(page.get_by_label("Time zone")).to_have_value("UTC")
    page.get_by_label("Owner").fill(owner.login)
    page.get_by_role("button", name="Add device").click()
    key = page.locator("#key").inner_text()
    page.get_by_text("JavaScript", exact=True).click()
    expect(page.locator("pre:visible")).to_contain_text(f"Device {key}")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Send a test reading").click()
    expect(opened.value.get_by_text("A test reading is stored;")).to_be_visible()
    expect(page.locator("#key")).to_have_text(key)


def test_strangers_do_not_find_the_page(portal: Portal, visit: Visit, owner_account: Account) -> None:
    foreign = portal.new_device(portal.new_user())
    page = visit(owner_account)
    assert page.goto(f"/portal/devices/{foreign.id}/connect/").status == 404

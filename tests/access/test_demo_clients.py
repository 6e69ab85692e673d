"""Whom an open demo answers, and what it says once somebody from beyond its computer has reached it."""

from collections.abc import Iterator

import pytest
from django.test import Client

from config.asgi.protocol import PatientProtocol
from config.demo import clients
from config.environment import PRIVATE_NETWORKS, networks
from tests.support import factories

HERE, NEAR, FAR = "127.0.0.1", "192.168.7.20", "203.0.113.9"
WARNING = "It is reached from beyond this computer"


@pytest.fixture(autouse=True)
def open_demo(settings, tmp_path) -> Iterator[None]:
    settings.DEMO = True
    settings.DATA = tmp_path
    for cached in (clients.is_near, clients.note_client, clients.host_of_container):
        cached.cache_clear()
    yield
    clients.is_near.cache_clear()


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        (HERE, True),
        ("::1", True),
        ("", True),
        ("10.1.2.3", True),
        ("172.17.0.1", True),
        (NEAR, True),
        ("fd00::7", True),
        ("fe80::7%eth0", True),
        ("::ffff:192.168.7.20", True),
        (FAR, False),
        ("172.32.0.1", False),
        ("2001:db8::7", False),
        ("::ffff:203.0.113.9", False),
    ],
)
def test_private_networks_are_near(address, answer):
    assert clients.is_near(address) is answer


def test_a_setting_names_other_networks(settings, monkeypatch):
    monkeypatch.setenv("DEMO_NETWORKS", "203.0.113.0/24, 2001:db8::/32")
    settings.DEMO_NETWORKS = networks("DEMO_NETWORKS", PRIVATE_NETWORKS)
    assert clients.is_near(FAR)
    assert clients.is_near("2001:db8::7")
    assert clients.is_near(HERE)
    assert not clients.is_near(NEAR)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "meta",
    [{"REMOTE_ADDR": FAR}, {"REMOTE_ADDR": NEAR, "HTTP_X_FORWARDED_FOR": f"{FAR}, {HERE}"}],
)
def test_a_far_client_is_refused_and_told_what_to_do(meta):
    factories.admin()
    for path in ("/devices/", "/portal/devices/", "/healthz", "/static/plumbline/nothing.css"):
        answer = Client(**meta).get(path)
        assert answer.status_code == 403, path
        assert b"DEMO_NETWORKS" in answer.content


@pytest.mark.django_db
def test_each_page_says_that_the_demo_was_reached_from_beyond_and_the_log_once(caplog):
    factories.admin()
    here = Client(REMOTE_ADDR=HERE)
    assert WARNING not in here.get("/portal/devices/").content.decode()
    for _ in range(3):
        assert Client(REMOTE_ADDR=NEAR).get("/devices/").status_code == 200
    pages = ("/portal/devices/", "/portal/login/", "/admin/", "/portal/nothing/")
    for path in pages:
        text = here.get(path, headers={"Accept": "text/html"}).content.decode()
        assert WARNING in text, path
        assert NEAR in text
    [warning] = [record for record in caplog.records if "DEMO MODE" in record.message]
    assert NEAR in warning.message


@pytest.mark.django_db
def test_a_refused_client_is_logged_and_makes_no_banner(caplog):
    factories.admin()
    Client(REMOTE_ADDR=FAR).get("/devices/")
    assert f"{FAR}, beyond this computer, was refused" in caplog.text
    assert WARNING not in Client(REMOTE_ADDR=HERE).get("/portal/devices/").content.decode()


def test_the_host_of_a_container_is_this_computer(monkeypatch, tmp_path):
    mark, routes = tmp_path / "mark", tmp_path / "route"
    routes.write_text("Iface\tDestination\tGateway \tFlags\neth0\t00000000\t010011AC\t0003\n")
    monkeypatch.setattr(clients, "CONTAINER_MARKS", (mark,))
    monkeypatch.setattr(clients, "ROUTES", routes)
    assert clients.host_of_container() == ""
    clients.host_of_container.cache_clear()
    mark.touch()
    assert clients.host_of_container() == "172.17.0.1"
    clients.note_client("172.17.0.1")
    assert clients.reached_from() == ""


@pytest.mark.parametrize(("address", "has_gate"), [(NEAR, True), (FAR, False)])
def test_a_far_connection_does_not_reach_the_gate(address, has_gate, monkeypatch):
    """The gate takes a known head before any middleware runs."""
    gate = object()
    monkeypatch.setattr(PatientProtocol, "gate", gate)
    monkeypatch.setattr(PatientProtocol, "lets_in", clients.is_near)
    protocol = PatientProtocol.__new__(PatientProtocol)
    protocol.choose_gate(address)
    assert (protocol.gate is gate) is has_gate

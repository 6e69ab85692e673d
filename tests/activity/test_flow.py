"""The activity datasets through HTTP, on the real servers; also while their database is away."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.portal import ACTIVITY_DATABASE, Person, Portal, eventually, execute

pytestmark = pytest.mark.e2e
PASSWORD = "a long enough password"
WAITING = "SELECT count(*) FROM activity_pendingevent WHERE user_id = %s"


@pytest.fixture
def ada(portal: Portal) -> Person:
    return portal.new_user()


@pytest.fixture
def account(portal: Portal) -> Person:
    """Staff, with a password."""
    person = portal.new_user("staff")
    portal.set_password(person, PASSWORD)
    return person


def data(portal: Portal, dataset: str, person: Person, **query: str) -> list[dict[str, Any]]:
    answer = portal.get(f"/api/{dataset}/", params={"login": person.login, **query})
    assert answer.keys() == {"status", "data"}
    return answer["data"]


def totals(portal: Portal, person: Person) -> dict[str, int]:
    days = data(portal, "general", person)
    return {name: sum(day[name] for day in days) for name in ("logins", "logouts", "blog_actions")}


def wait_for(portal: Portal, person: Person, **wanted: int) -> None:
    """Wait until the worker has delivered: asking for a dataset would deliver the events itself."""
    eventually(lambda: portal.query(WAITING, person.id) == [(0,)])
    assert wanted.items() <= totals(portal, person).items()


@contextmanager
def logged_in(portal: Portal, person: Person, page: str = "/portal/login/") -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.get(portal.url + page, timeout=30)
        fields = {"username": person.login, "password": PASSWORD}
        assert send(session, portal.url + page, fields).status_code == 302
        yield session


def send(session: requests.Session, url: str, fields: dict[str, str]) -> requests.Response:
    headers = {"X-CSRFToken": session.cookies["csrftoken"]}
    return session.post(url, fields, headers=headers, timeout=30, allow_redirects=False)


@contextmanager
def activity_database_away(portal: Portal) -> Iterator[None]:
    """Close all connections to the activity database, and let it refuse new ones."""

    def allow(flag: str) -> None:
        execute(portal.server_url, f"ALTER DATABASE {ACTIVITY_DATABASE} ALLOW_CONNECTIONS {flag}")

    allow("false")
    try:
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        execute(portal.server_url, end, ACTIVITY_DATABASE)
        yield
    finally:
        allow("true")


@pytest.mark.parametrize(
    ("log_in", "log_out"), [("/portal/login/", "/portal/logout/"), ("/admin/login/", "/admin/logout/")]
)
def test_log_ins_and_log_outs_are_written_as_they_happen(
    portal: Portal, account: Person, log_in: str, log_out: str
):
    with logged_in(portal, account, log_in) as session:
        wait_for(portal, account, logins=1, logouts=0)
        assert send(session, portal.url + log_out, {}).status_code in (200, 302)
    wait_for(portal, account, logins=1, logouts=1)


def test_a_wrong_password_and_a_log_out_by_nobody_are_no_events(portal: Portal, account: Person):
    with requests.Session() as session:
        session.trust_env = False
        session.get(f"{portal.url}/portal/login/", timeout=30)
        for page in ("/portal/login/", "/admin/login/"):
            fields = {"username": account.login, "password": "wrong"}
            assert send(session, portal.url + page, fields).status_code == 200
        assert send(session, f"{portal.url}/portal/logout/", {}).status_code == 302
    assert portal.query(WAITING, account.id) == [(0,)]
    assert data(portal, "general", account) == []


def test_blogs_posts_and_comments(portal: Portal, ada: Person):
    blog = portal.made("/api/blogs/", ada.token, {"name": "Notes", "description": "", "owner": ada.login})
    fields = {"blog": blog["id"], "author": ada.login, "header": "Frost", "text": "It was cold."}
    kept, gone = (portal.made("/api/posts/", ada.token, fields) for _ in range(2))
    assert totals(portal, ada)["blog_actions"] == 2
    events = [
        {
            "login": ada.login,
            "event": "comment",
            "at": "2026-11-01T12:00:00Z",
            "object_id": post["id"],
            "id": own,
        }
        for post, own in ((kept, "a"), (gone, "b"), (gone, "c"), (gone, "c"))
    ]
    receipt = portal.made("/api/activity/", portal.admin_token, events)
    assert receipt == {"accepted": 4, "rejected": []}
    answer = portal.request("DELETE", f"/api/posts/{gone['id']}", token=ada.token)
    assert answer.status_code == 204
    assert totals(portal, ada)["blog_actions"] == 3
    names = {"user_login": ada.login}
    assert data(portal, "comments", ada) == [
        names | {"post_header": None, "post_author_login": None, "total_comments": 2},
        names | {"post_header": "Frost", "post_author_login": ada.login, "total_comments": 1},
    ]
    zeros = {"date": "2026-11-01", "logins": 0, "logouts": 0, "blog_actions": 0}
    assert data(portal, "general", ada, end="2026-11-02") == [zeros]
    path = f"/api/comments?login={ada.login}&format=csv"
    file = portal.request("GET", path, token=ada.token)
    assert file.text.splitlines() == [
        "user_login,post_header,post_author_login,total_comments",
        f"{ada.login},,,2",
        f"{ada.login},Frost,{ada.login},1",
    ]


def test_a_file_of_events(portal: Portal, ada: Person, tmp_path: Path):
    path = tmp_path / "events.csv"
    path.write_text(f"login,event,at\n{ada.login},login,2026-11-01T12:00:00Z\n")
    assert portal.manage("import_activity", str(path)) == "Stored: 1 events. Already stored before: 0.\n"
    assert portal.manage("import_activity", str(path)) == "Stored: 0 events. Already stored before: 1.\n"
    assert totals(portal, ada) == {"logins": 1, "logouts": 0, "blog_actions": 0}


def test_logs_are_in_the_other_database(portal: Portal):
    names = (
        "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'activity\\_%%' ORDER BY 1"
    )
    url = f"{portal.server_url.rpartition('/')[0]}/{ACTIVITY_DATABASE}"
    assert portal.query(names) == [("activity_blog",), ("activity_pendingevent",), ("activity_post",)]
    assert execute(url, names) == [("activity_eventtype",), ("activity_log",), ("activity_spacetype",)]
    foreign = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    # Those three, and Django's list of migrations.
    assert execute(url, foreign) == [(4,)]
    types = "SELECT e.name, s.name FROM activity_eventtype e JOIN activity_spacetype s ON s.id = space_id"
    assert execute(url, f"{types} ORDER BY e.id") == [
        ("login", "global"),
        ("logout", "global"),
        ("create_post", "blog"),
        ("delete_post", "blog"),
        ("comment", "post"),
    ]


def test_a_dead_activity_database_holds_nobody_up_and_loses_nothing(
    portal: Portal, ada: Person, account: Person
):
    device = portal.new_device(ada)
    blog = portal.made("/api/blogs/", ada.token, {"name": "Notes", "description": "", "owner": ada.login})
    with activity_database_away(portal):
        for page in ("/portal/login/", "/admin/login/"):
            with logged_in(portal, account, page) as session:
                assert session.get(f"{portal.url}/portal/devices/", timeout=30).status_code == 200
                assert session.get(f"{portal.url}/portal/activity/", timeout=30).status_code == 503
                assert send(session, f"{portal.url}/portal/logout/", {}).status_code == 302
        fields = {"blog": blog["id"], "author": ada.login, "header": "Frost", "text": ""}
        portal.made("/api/posts/", ada.token, fields)
        portal.post_reading(device, x=1, y=2, z=3)
        assert portal.is_ready()
        for method, path, body in (
            ("GET", f"/api/general/?login={ada.login}", None),
            ("GET", f"/api/comments/?login={ada.login}&format=csv", None),
            (
                "POST",
                "/api/activity/",
                [{"login": ada.login, "event": "login", "at": "2026-11-01T12:00:00Z"}],
            ),
        ):
            answer = portal.request(method, path, token=portal.admin_token, json=body)
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "1")
            assert answer.headers["Content-Type"] == "application/problem+json"
    wait_for(portal, account, logins=2, logouts=2)
    wait_for(portal, ada, blog_actions=1, logins=0)


def test_a_dead_worker_and_broker_lose_no_event(portal: Portal, account: Person):
    portal.kill("worker")
    portal.kill("redis")
    try:
        with logged_in(portal, account):
            pass
        assert portal.query(WAITING, account.id) == [(1,)]
    finally:
        portal.start_all()
    wait_for(portal, account, logins=1)


def test_it_starts_while_the_activity_database_is_away(portal: Portal):
    """Processes that wait for migrations before they start wait for those of the portal's database only."""
    with activity_database_away(portal):
        portal.manage("migrate", "--check")
        portal.kill("web")
        portal.start_all()


def test_names_that_spell_mischief(portal: Portal):
    for login in (secrets.token_hex(4), "' OR 1=1 --", "\0", "💣" * 100):
        answer = portal.get("/api/general/", params={"login": login})
        assert answer == {"status": "ok", "data": []}

"""Static files have names of their content and stay in browsers for a year; all are compressed once."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.templatetags.static import static

from tests.server.test_compression import CODINGS, fetch
from tests.support.portal import Portal

SHEET = "plumbline/style/plumbline.css"
A_YEAR = "max-age=31536000, public, immutable"


def content(name: str) -> bytes:
    return Path(finders.find(name)).read_bytes()


def test_a_name_has_the_digest_of_the_content() -> None:
    assert re.fullmatch(r"/static/plumbline/style/plumbline\.[0-9a-f]{12}\.css", static(SHEET))
    assert static("plumbline/no/such/file.css") == "/static/plumbline/no/such/file.css"


@pytest.mark.parametrize("path", ["/portal/login/", "/admin/login/", "/docs", "/redoc", "/portal/nothing/"])
def test_pages_refer_to_such_names_only(portal: Portal, path: str) -> None:
    page = portal.request("GET", path, headers={"Accept": "text/html"}).text
    names = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert names
    for name in names:
        answer = fetch(portal, name)
        assert (answer.status, answer.headers["cache-control"]) == (200, A_YEAR)


def test_under_its_own_name_a_file_is_kept_for_a_minute(portal: Portal) -> None:
    assert fetch(portal, f"/static/{SHEET}").headers["cache-control"] == "max-age=60, public"


def test_under_another_digest_the_file_is_served_but_not_kept(portal: Portal) -> None:
    """During an upgrade a page of another version asks for it."""
    other = fetch(portal, "/static/plumbline/style/plumbline.0123456789ab.css")
    assert (other.status, other.headers["cache-control"]) == (200, "max-age=60, public")
    assert fetch(portal, "/static/plumbline/style/nothing.0123456789ab.css").status == 404


@pytest.mark.parametrize("coding", CODINGS)
def test_files_are_compressed(portal: Portal, coding: str) -> None:
    packed = fetch(portal, static(SHEET), coding)
    assert packed.headers["content-encoding"] == coding
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["cache-control"] == A_YEAR
    assert int(packed.headers["content-length"]) == len(packed.body) < len(packed.content) / 2
    assert packed.content == content(SHEET)


@pytest.mark.parametrize(
    "name", ["drf_spectacular_sidecar/swagger-ui-dist/favicon-32x32.png", "plumbline/images/mark.svg"]
)
def test_what_is_short_or_does_not_shrink_is_sent_as_it_is(portal: Portal, name: str) -> None:
    answer = fetch(portal, static(name), "gzip")
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.body == content(name)


def test_an_etag_holds_for_each_coding(portal: Portal) -> None:
    url = f"/static/{SHEET}"
    tags = {fetch(portal, url, coding).headers["etag"] for coding in ("", *CODINGS)}
    [tag] = tags
    assert tag.startswith('W/"')
    for coding in ("", *CODINGS):
        answer = fetch(portal, url, coding, **{"If-None-Match": tag})
        assert (answer.status, answer.body) == (304, b"")
    assert fetch(portal, url, **{"If-None-Match": 'W/"other"'}).status == 200


def test_a_part_of_a_file_is_not_compressed(portal: Portal) -> None:
    answer = fetch(portal, static(SHEET), "gzip", Range="bytes=0-9")
    assert (answer.status, answer.body) == (206, content(SHEET)[:10])
    assert "content-encoding" not in answer.headers

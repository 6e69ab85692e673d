"""Values that no page of Django admin would send are refused, on each model's pages, without a 500."""

import pytest
from django.contrib import admin
from django.test import Client

from devices.models import DeviceProfile, Reading
from tests.support import factories
from tests.users.admin_pages import PAGES, client, row, url

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "activity"])
NONSENSE = ("x", "9" * 30, "\0", "")
# Fields that lead to other rows, in any of the forms.
LINKS = ("user", "owner", "profile", "device", "blog", "author")
COUNTS = ("TOTAL_FORMS", "INITIAL_FORMS")


@pytest.fixture
def seen() -> Client:
    seen = client(factories.admin())
    seen.raise_request_exception = False
    return seen


def test_ids_of_selected_rows(seen):
    for model in PAGES:
        for action in [name for name in actions(model) if name]:
            for value in NONSENSE:
                fields = {"action": action, "_selected_action": [value]}
                answer = seen.post(url(model, "changelist"), fields)
                assert answer.status_code in (200, 302, 400), (model, action, value)


def actions(model: type) -> list[str]:
    return ["delete_selected", *(getattr(admin.site._registry[model], "actions", None) or ())]


@pytest.mark.parametrize("page", ["add", "change"])
def test_links_to_other_rows(seen, page):
    for model in PAGES:
        if page not in PAGES[model]:
            continue
        made = [] if page == "add" else [row(model).pk]
        for value in NONSENSE:
            answer = seen.post(url(model, page, *made), dict.fromkeys(LINKS, value))
            # Fields that a form does not have change nothing.
            assert answer.status_code in (200, 302, 400, 403), (model, value)


def test_counts_of_forms(seen):
    made = row(DeviceProfile)
    for page in (url(DeviceProfile, "add"), url(DeviceProfile, "change", made.pk)):
        for name in COUNTS:
            for value in ("x", "", "-1", "3"):
                fields = {"name": "x", **{f"channels-{count}": 0 for count in COUNTS}}
                answer = seen.post(page, fields | {f"channels-{name}": value})
                assert answer.status_code in (200, 400), (page, name, value)
    assert DeviceProfile.objects.filter(name="x").count() == 0


def test_searches_for_choices(seen):
    good = {"app_label": "devices", "model_name": "device", "field_name": "owner", "term": "a"}
    assert seen.get("/admin/autocomplete/", good).status_code == 200
    for name in good:
        for value in ("\0", "id", "keys", "uuid"):
            answer = seen.get("/admin/autocomplete/", good | {name: value})
            assert answer.status_code in (200, 400, 403, 404), (name, value)
        left_out = {other: text for other, text in good.items() if other != name}
        assert seen.get("/admin/autocomplete/", left_out).status_code in (200, 403)
    assert seen.post("/admin/autocomplete/", good).status_code in (403, 405)


def test_the_refusal_is_a_page(seen):
    answer = seen.post(url(Reading, "changelist"), {"action": "x", "_selected_action": "x"})
    assert answer.status_code == 200
    refused = seen.post(
        url(DeviceProfile, "changelist"), {"action": "delete_selected", "_selected_action": "x"}
    )
    assert (refused.status_code, b"could not read this request" in refused.content) == (400, True)

"""Cancelling an analysis, by the API and on its page."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analytics import runs
from analytics.models import Analysis, Status
from tests.support import factories

pytestmark = pytest.mark.django_db


def made(**fields: Any) -> Analysis:
    return Analysis.objects.create(device=factories.device(), **fields)


def cancel(analysis: Analysis) -> Any:
    headers = {"Authorization": f"Token {factories.token(analysis.device.owner)[1]}"}
    return Client().post(f"/tasks/{analysis.pk}/cancel", headers=headers)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.CANCELLED])
def test_an_open_one_ends_and_to_say_it_twice_is_no_fault(status: Status) -> None:
    analysis = made(status=status)
    response = cancel(analysis)
    assert response.status_code == 202, response.content
    assert response.json()["status"] == "REVOKED"
    assert runs.claim(Analysis, "task") is None


@pytest.mark.parametrize(("status", "word"), [(Status.FINISHED, "SUCCESS"), (Status.FAILED, "FAILURE")])
def test_one_that_is_over_stays_and_says_so(status: Status, word: str) -> None:
    analysis = made(status=status)
    response = cancel(analysis)
    assert (response.status_code, response.json()["detail"]) == (409, f"It is {word} already.")
    assert Analysis.objects.get().status == status


def test_its_page_offers_it_as_long_as_it_is_open() -> None:
    analysis = made()
    page, path = (
        reverse(f"analytics:{name}", args=[analysis.pk]) for name in ("analysis", "analysis-cancel")
    )
    client = Client()
    client.force_login(factories.stranger())
    assert client.post(path).status_code == 404
    client.force_login(analysis.device.owner)
    assert path in client.get(page).content.decode()
    shown = client.post(path, follow=True).content.decode()
    assert "Cancelled" in shown
    assert path not in shown

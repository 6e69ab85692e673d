"""/.well-known/security.txt, by RFC 9116."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from config.environment import contacts

PATH = "/.well-known/security.txt"


@pytest.mark.django_db
def test_it_names_the_contacts_of_the_setting(settings):
    settings.SECURITY_CONTACT = ["mailto:security@example.com", "https://example.com/report"]
    answer = Client().get(PATH)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    fields = [line.split(": ", 1) for line in answer.content.decode().splitlines()]
    assert [value for name, value in fields if name == "Contact"] == settings.SECURITY_CONTACT
    rest = dict(fields)
    assert rest["Canonical"] == f"http://testserver{PATH}"
    ends = datetime.fromisoformat(rest["Expires"])
    # At least once and in the future, at most a year ahead.
    assert timedelta(days=80) < ends - datetime.now(UTC) < timedelta(days=365)


@pytest.mark.django_db
def test_without_a_contact_there_is_none(settings):
    settings.SECURITY_CONTACT = []
    assert Client().get(PATH).status_code == 404


@pytest.mark.parametrize("value", ["security@example.com", "http://example.com", "mailto:a b@example.com"])
def test_a_contact_is_an_address_of_a_known_form(value, monkeypatch):
    monkeypatch.setenv("SECURITY_CONTACT", f"tel:+44-20-7946-0000,{value}")
    with pytest.raises(ImproperlyConfigured, match="SECURITY_CONTACT"):
        contacts("SECURITY_CONTACT")

"""The list of a device's keys has pages, like every list."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import DeviceKey
from tests.support import factories

pytestmark = pytest.mark.django_db


def test_keys_are_listed_on_linked_pages_without_more_queries():
    device = factories.device()
    headers = {"Authorization": f"Token {factories.token(device.owner)[1]}"}
    path = f"/devices/{device.uuid}/keys/"

    def queries(count: int) -> int:
        while device.keys.count() < count:
            DeviceKey.issue(device=device)
        with CaptureQueriesContext(connection) as captured:
            response = Client().get(f"{path}?limit=20", headers=headers)
        assert (response.status_code, len(response.json())) == (200, min(count, 20))
        assert response["X-Total-Count"] == str(count)
        assert ('rel="next"' in response["Link"]) == (count > 20)
        return len(captured)

    queries(1)  # the first one also notes the token's use
    assert queries(1) == queries(20) == queries(25)
    stranger = {"Authorization": f"Token {factories.token(factories.stranger())[1]}"}
    assert Client().get(path, headers=stranger).status_code == 404

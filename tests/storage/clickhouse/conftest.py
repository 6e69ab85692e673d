"""Fixtures of a device and of its owner who calls the API."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from tests.support import factories

Ask = Callable[..., Any]


@pytest.fixture
def device() -> Device:
    factories.profile("scalar", ("value",))
    return factories.device(factories.admin(), name="Pump 3")


@pytest.fixture
def ask(device: Device) -> Ask:
    """As the device's owner, by HTTP; `status` is what the answer must have."""
    client = Client(headers={"Authorization": f"Token {factories.token(device.owner)[1]}"})

    def ask(method: str, path: str, body: Any = None, status: int = 200, key: str | None = None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        body = "" if body is None else json.dumps(body)
        answer = client.generic(method, path, body, content_type="application/json", headers=headers)
        assert answer.status_code == status, answer.content
        return answer if status >= 400 else json.loads(answer.content or b"null")

    return ask

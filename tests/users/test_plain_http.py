"""With HTTPS=1 a credential that comes over plain HTTP is refused, at the gate and at every view."""

import pytest
from django.test import Client
from django.urls import reverse

from devices.ingestion.post_head import AllowedHosts, PostHead, small_post_sender
from devices.models import DeviceKey
from tests.support import factories

BEHIND_TLS = {"X-Forwarded-Proto": "https"}


@pytest.fixture(autouse=True)
def https(settings) -> None:
    settings.HTTPS = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.django_db
class TestViews:
    def test_a_token(self):
        headers = {"Authorization": f"Token {factories.token()[1]}"}
        refused = Client().get("/devices/", headers=headers)
        assert (refused.status_code, "plain HTTP" in refused.json()["detail"]) == (403, True)
        assert Client().get("/devices/", headers=headers | BEHIND_TLS).status_code == 200
        assert Client().get("/devices/", headers=headers | {"X-Forwarded-Proto": "http"}).status_code == 403

    def test_a_device_key(self):
        device = factories.device()
        headers = {"Authorization": f"Device {DeviceKey.issue(device=device)[1]}"}
        post = {"path": f"/devices/{device.uuid}/stats/", "data": {"x": 1, "y": 2, "z": 3}}
        options = {"content_type": "application/json"}
        assert Client().post(**post, **options, headers=headers).status_code == 403
        assert Client().post(**post, **options, headers=headers | BEHIND_TLS).status_code == 201


class TestGate:
    """It answers only what came over TLS; all else goes to the view."""

    @pytest.mark.parametrize(
        ("proto", "is_taken"), [(b"https", True), (b"https, http", True), (b"http", False), (None, False)]
    )
    def test_it_takes_what_came_over_tls(self, proto, is_taken):
        headers = [
            (b"host", b"localhost"),
            (b"authorization", b"Device x"),
            (b"content-type", b"application/json"),
            (b"content-length", b"2"),
        ]
        headers += [(b"x-forwarded-proto", proto)] if proto else []
        path = reverse("devices:api-device-stats", args=["0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10"])
        scope = {"path": path, "query_string": b"", "headers": headers}
        assert (PostHead.parse(scope, AllowedHosts()) is not None) == is_taken
        assert (small_post_sender(scope, 100) is not None) == is_taken

"""Names of devices where they are linked to."""

from uuid import UUID

import pytest

from devices.models import Device


@pytest.mark.parametrize(
    ("name", "external_id", "shown"),
    [
        ("Pump", "p-1", "Pump"),
        ("", "p-1", "p-1"),
        (" ", "p-1", "p-1"),
        ("", "\n", "device 00000000"),
        ("", None, "device 00000000"),
    ],
)
def test_it_is_never_empty(name: str, external_id: str | None, shown: str) -> None:
    assert str(Device(name=name, external_id=external_id, uuid=UUID(int=0))) == shown

"""What the pages are shown with: devices, runs and people, made through the API or by visiting pages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

# Sends a body to a path of the API as an admin and returns the answer's JSON; a GET without a body.
Api = Callable[..., Any]
SPARE = "Trial board"
XYZ = {"x": 1.5, "y": 2, "z": 3}


@dataclass
class Subjects:
    """`ids` fills the addresses of scenes; scenes add what they make: an import, an invitation, a secret."""

    api: Api
    login: str
    password: str
    ids: dict[str, str] = field(default_factory=dict)


def prepare(api: Api, login: str, password: str, *, device: str, person: str) -> Subjects:
    """Exclude a stretch of a device, ask for an analysis of it, queue two calculations, make a spare device.

    `person`: a login, whose activity is shown.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    stretch = {"start": now - timedelta(hours=9), "end": now - timedelta(hours=7, minutes=30)}
    body = {name: time.isoformat() for name, time in stretch.items()}
    api("POST", f"/devices/{device}/exclusions/", body | {"reason": "Sensor was being cleaned"})
    analysis = api("GET", f"/devices/{device}/analytics/?bucket=day&percentiles=5,95")["task_id"]
    well = {"name": "Well 7", "date_start": "2024-01-01", "date_fin": "2026-12-31", "lag": 7}
    first, second = (api("POST", "/calculations/", well | {"seed": seed})["id"] for seed in (42, 43))
    owner = api("GET", f"/devices/{device}/")["user_id"]
    spare = api("POST", "/devices/", {"name": SPARE, "user_id": owner})["id"]
    ids = {"device": device, "analysis": analysis, "calculation": second, "other_calculation": first}
    return Subjects(api, login, password, ids | {"spare": spare, "spare_name": SPARE, "person": person})

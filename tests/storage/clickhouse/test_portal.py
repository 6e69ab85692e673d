"""The portal does with its readings in ClickHouse what it does on PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from devices import statistics
from devices.models import Reading
from tests.storage.clickhouse.portal import EVER, NOWHERE, READING, STAMP, work
from tests.support import factories

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]


def test_the_main_job_is_the_same(ask, device):
    stats = f"/devices/{device.uuid}/stats"
    assert ask("POST", f"{stats}/", READING, 201) == {"status": "ok"}
    batch = [{"timestamp": f"2026-11-02T08:00:0{i}Z", "x": i, "y": -i, "z": 0} for i in range(5)]
    assert ask("POST", f"{stats}/batch", batch, 201) == {"accepted": 5, "rejected": []}
    assert not Reading.objects.exists()
    shown = ask("GET", f"/stats/{device.uuid}/?limit=2")
    assert [reading["x"] for reading in shown] == [1.5, 4.0]
    assert len(ask("GET", "/stats/?end=2026-11-02T08:00:02Z")) == 2
    assert ask("GET", f"/devices/{device.uuid}")["last_reading"]["x"] == 1.5
    assert [found["id"] for found in ask("GET", "/devices/?online=true")] == [str(device.uuid)]

    path = f"/devices/{device.uuid}/analytics/?percentiles=25&bucket=day"
    task = ask("GET", path, status=202)["task_id"]
    work(task)
    answer = ask("GET", f"/tasks/{task}")
    assert (answer["status"], answer["stale"]) == ("SUCCESS", False)
    expected = {"count": 6, "min": 0.0, "max": 4.0, "sum": 11.5, "avg": 11.5 / 6, "median": 1.75}
    assert answer["result"]["x"] == expected | {"percentiles": {"25": 1.125}}
    assert answer["result"]["buckets"][0]["x"]["count"] == 5
    assert (answer["result"]["rows_read"], answer["result"]["segments_used"]) == (12, 0)
    assert ask("GET", path, status=202)["task_id"] == task

    made = {"start": "2026-11-02T08:00:00Z", "end": "2026-11-02T08:00:02Z", "reason": "Cleaning"}
    exclusion = ask("POST", f"/devices/{device.uuid}/exclusions/", made, 201)["id"]
    assert ask("GET", f"/tasks/{task}")["stale"]
    series = ask("GET", f"/devices/{device.uuid}/series/?points=10&end=2026-11-03T00:00:00Z")
    assert series["channels"]["x"] == {"min": [2.0], "mean": [3.0], "max": [4.0]}
    ask("POST", f"/devices/{device.uuid}/exclusions/{exclusion}/lift", {})

    fleet = ask("GET", f"/users/{device.owner.pk}/analytics/", status=202)["task_id"]
    work(fleet)
    assert ask("GET", f"/tasks/{fleet}")["result"]["aggregate"]["x"] == expected
    ask("POST", f"{stats}/", READING | {"timestamp": STAMP}, 201)
    assert ask("GET", f"/tasks/{fleet}")["stale"]


def test_one_reading_is_excluded_by_stamp_and_values(ask, device):
    ask("POST", f"/devices/{device.uuid}/stats/", READING | {"timestamp": STAMP}, 201)
    chosen = {"reading": READING | {"timestamp": STAMP}, "reason": "Spike"}
    other = {"reading": READING | {"timestamp": STAMP, "x": 7}, "reason": "Spike"}
    ask("POST", f"/devices/{device.uuid}/exclusions/", other, 400)
    ask("POST", f"/devices/{device.uuid}/exclusions/", chosen, 201)
    assert statistics.of_device(device, EVER).excluded == 1


def test_sensors_are_right_at_once_and_start_from_zero_again(ask):
    items = [{"sensor": "boiler/1", "timestamp": STAMP, "value": value} for value in (60, 61.5)]
    assert ask("POST", "/data", items, 201) == {"accepted": 2, "rejected": []}
    path = "/statistics/boiler%2F1"
    assert ask("GET", path) == {"last_measurement": STAMP, "count": 2, "avg": 60.75}
    for _ in range(2):
        ask("DELETE", path, status=204)
        assert ask("GET", path) == {"last_measurement": None, "count": 0, "avg": 0.0}
    ask("POST", "/data", items[:1], 201)
    assert ask("GET", path)["count"] == 1


def test_pages_show_readings(device):
    client = Client()
    client.force_login(device.owner)
    factories.readings(device, [(1, 2, 3)] * 3)
    page = client.get(f"/portal/devices/{device.uuid}/").content.decode()
    assert page.count("2026-11-21") >= 3
    assert client.get("/portal/devices/").status_code == 200
    assert client.get("/admin/").status_code == 200


def test_the_admin_links_to_the_page_of_a_device_instead_of_its_rows(device):
    client = Client()
    client.force_login(device.owner)
    url = reverse("admin:devices_device_change", args=[device.pk])
    assert f'href="/portal/devices/{device.uuid}/"' in client.get(url).content.decode()
    ask = "from django.contrib import admin; print([*map(str, admin.site._registry)])"
    argv = [sys.executable, Path(settings.BASE_DIR, "manage.py"), "shell", "-v", "0", "-c", ask]
    env = os.environ | {"READINGS_URL": NOWHERE}
    shown = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert "devices.models.devices.Device'" in shown
    assert "Reading'" not in shown

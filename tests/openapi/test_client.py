"""A client that openapi-python-client generates from the document works against a real portal."""

import datetime
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.openapi.document import document
from tests.support.portal import Person, Portal, eventually

PACKAGE = "plumbline_client"
GENERATOR = "from openapi_python_client.cli import app; app()"


class Generated:
    """The generated package, used as its readme says."""

    def __init__(self, portal: Portal) -> None:
        self.url = portal.url

    def client(self, text: str, prefix: str = "Token") -> Any:
        options = {"httpx_args": {"trust_env": False}, "raise_on_unexpected_status": True, "timeout": 30}
        kind = import_module(f"{PACKAGE}.client").AuthenticatedClient
        return kind(base_url=self.url, token=text, prefix=prefix, **options)

    def model(self, name: str) -> Any:
        return getattr(import_module(f"{PACKAGE}.models"), name)

    def call(self, operation: str, *ids: Any, **options: Any) -> Any:
        """Call an operation, `tag.operation_id`; return the parsed answer."""
        answer = import_module(f"{PACKAGE}.api.{operation}").sync_detailed(*ids, **options)
        assert answer.headers["X-Request-ID"]
        return answer.parsed


@pytest.fixture(scope="module")
def api(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "schema.json").write_text(json.dumps(document()))
    # Its own formatter is not needed, and need not be installed.
    (folder / "config.yaml").write_text("post_hooks: []\n")
    options = ["--path", "schema.json", "--config", "config.yaml", "--output-path", PACKAGE, "--meta", "none"]
    command = [sys.executable, "-c", GENERATOR, "generate", "--fail-on-warning", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield Generated(portal)


@pytest.fixture(scope="module")
def admin(api: Generated, portal: Portal) -> Any:
    return api.client(portal.admin_token)


@pytest.fixture
def device(api: Generated, admin: Any, owner: Person) -> Any:
    body = api.model("DeviceRequest")(user_id=owner.id, name="Pump", profile="xyz")
    return api.call("devices.device_create", client=admin, body=body)


def with_values(reading: Any) -> Any:
    reading.additional_properties = {"x": 1.5, "y": 2.0, "z": 3.0}
    return reading


def post(api: Generated, device: Any) -> Any:
    """Post two readings of the device: one alone, one in a batch."""
    sender = api.client(device.key, "Device")
    one = with_values(api.model("NewReading")(timestamp=1795253460.25))
    many = [with_values(api.model("StampedReading")(timestamp="2026-11-21T09:31:00"))]
    stored = api.call("readings.reading_create", device.id, client=sender, body=one)
    receipt = api.call("readings.reading_batch_create", device.id, client=sender, body=many)
    return stored, receipt


def test_every_operation_has_its_function(api: Generated) -> None:
    for item in document()["paths"].values():
        for operation in item.values():
            module = import_module(f"{PACKAGE}.api.{operation['tags'][0]}.{operation['operationId']}")
            assert callable(module.sync_detailed)


def test_list_and_page(api: Generated, admin: Any, device: Any) -> None:
    users = api.call("users.user_list", client=admin, limit=1)
    assert [type(user).__name__ for user in users] == ["User"]
    assert device.id in [
        each.id for each in api.call("devices.device_list", client=admin, search=str(device.id))
    ]


def test_create_read_change_and_delete(api: Generated, admin: Any, device: Any) -> None:
    assert isinstance(device.id, UUID)
    assert device.key.startswith("pld_")
    assert [channel.name for channel in device.channels] == ["x", "y", "z"]
    change = api.model("PatchedDeviceRequest")(name="Pump 2", external_id=None)
    assert api.call("devices.device_change", device.id, client=admin, body=change).name == "Pump 2"
    found = api.call("devices.device_read", device.id, client=admin)
    assert (found.name, found.last_reading, found.online) == ("Pump 2", None, False)
    assert api.call("devices.device_delete", device.id, client=admin) is None
    assert api.call("devices.device_read", device.id, client=admin).status == 404


def test_post_readings_and_list_them(api: Generated, admin: Any, device: Any) -> None:
    stored, receipt = post(api, device)
    assert stored.status == "ok"
    assert (receipt.accepted, receipt.rejected, receipt.assumed_timezone) == (1, [], "UTC")
    one, other = api.call("readings.device_reading_list", device.id, client=admin)
    assert one.timestamp == datetime.datetime(2026, 11, 21, 9, 31, 0, 250000, tzinfo=datetime.UTC)
    assert other["x"] == 1.5
    assert one.device_id == device.id
    listed = api.call("readings.reading_list", client=admin, limit=1000)
    assert one in listed
    assert api.call("devices.device_read", device.id, client=admin).last_reading["z"] == 3.0


def test_sensors(api: Generated, admin: Any) -> None:
    sensor = f"boiler-{secrets.token_hex(4)}"
    reading = api.model("SensorReading")(sensor=sensor, timestamp="2026-11-21T10:31:00+01:00", value=61.5)
    assert api.call("readings.sensor_data_create", client=admin, body=[reading]).accepted == 1
    statistics = api.call("readings.sensor_statistics", sensor, client=admin)
    assert (statistics.count, statistics.avg) == (1, 61.5)
    assert api.call("readings.sensor_clear", sensor, client=admin) is None
    assert api.call("readings.sensor_statistics", sensor, client=admin).last_measurement is None


def wait_for_task(api: Generated, client: Any, task: Any) -> Any:
    def over() -> Any:
        found = api.call("analyses.task_read", task.task_id, client=client)
        return found if found.status == "SUCCESS" else None

    return eventually(over)


def test_task_of_a_device(api: Generated, admin: Any, device: Any) -> None:
    post(api, device)
    body = api.model("QuestionRequest")(percentiles=[5, 95], bucket=api.model("BucketEnum").DAY)
    asked = api.call("analyses.device_analysis_post", device.id, client=admin, body=body)
    result = wait_for_task(api, admin, asked).result
    assert result.device_id == device.id
    assert (result["x"].count, result["x"].median, result["x"].percentiles["95"]) == (2, 1.5, 1.5)
    assert result.buckets[0]["y"].sum_ == 4.0
    assert result.coverage.longest_gap.end == result.end
    series = api.call("analyses.device_series", device.id, client=admin, points=10)
    assert sum(series.count) == 2
    assert api.call("analyses.task_delete", asked.task_id, client=admin) is None


def test_task_of_a_user(api: Generated, admin: Any, device: Any, owner: Person) -> None:
    post(api, device)
    asked = api.call("analyses.user_analysis_ask", owner.id, client=api.client(owner.token))
    result = wait_for_task(api, admin, asked).result
    assert result.user_id == owner.id
    assert result.aggregate["x"].count == 2
    assert result.devices[str(device.id)]["x"].count == 2
    [row] = api.call("analyses.task_devices", asked.task_id, client=admin)
    assert row["x"].max_ == 1.5


def test_calculations(api: Generated, admin: Any) -> None:
    day = datetime.date(2026, 1, 1)
    body = api.model("WellCalculationRequest")(date_start=day, date_fin=day, lag=1, name="Well 7")
    made = api.call("calculations.calculation_create", client=admin, body=body)

    def finished() -> Any:
        found = api.call("calculations.calculation_read", made.id, client=admin, fields="name,duration")
        return found if found.status == "finished" else None

    run = eventually(finished)
    assert (run.name, [row.date for row in run.result]) == ("Well 7", [day])
    assert run.result[0].liquid >= run.result[0].oil
    assert made.id in [each.id for each in api.call("calculations.calculation_list", client=admin)]


def test_datasets(api: Generated, admin: Any, owner: Person) -> None:
    blog = api.model("BlogRequest")(name="Notes", description="", owner=owner.login)
    blog = api.call("activity.blog_create", client=admin, body=blog)
    event = api.model("Event")(
        login=owner.login, event="create_post", at="2026-11-21T10:31:00Z", object_id=blog.id, id="a-1"
    )
    assert api.call("activity.activity_create", client=admin, body=[event]).accepted == 1
    general = api.call("activity.general_dataset", client=admin, login=owner.login)
    assert [(row.date, row.blog_actions) for row in general.data] == [(datetime.date(2026, 11, 21), 1)]
    assert api.call("activity.comments_dataset", client=admin, login=owner.login).data == []


def test_profiles(api: Generated, admin: Any) -> None:
    channel = api.model("NewChannelRequest")(name="temperature", unit="°C", minimum=-40.0)
    body = api.model("ProfileRequest")(name=f"pump-{secrets.token_hex(4)}", channels=[channel])
    made = api.call("profiles.profile_create", client=admin, body=body)
    assert (made.channels[0].unit, made.built_in, made.in_use) == ("°C", False, False)
    change = api.model("PatchedProfileRequest")(description="A pump.")
    assert api.call("profiles.profile_change", made.name, client=admin, body=change).description == "A pump."
    assert api.call("profiles.profile_delete", made.name, client=admin) is None


def test_exclusions(api: Generated, admin: Any, device: Any) -> None:
    body = api.model("PeriodExclusionRequest")(
        reason="Cleaning", start="2026-11-20T08:00:00Z", end="2026-11-20T09:00:00Z"
    )
    made = api.call("exclusions.exclusion_create", device.id, client=admin, body=body)
    assert (made.active, made.reading) == (True, None)
    lifted = api.call("exclusions.exclusion_lift", device.id, made.id, client=admin)
    assert (lifted.active, lifted.lifted_by) == (False, "admin")


def test_tokens_and_keys(api: Generated, admin: Any, device: Any, owner: Person) -> None:
    body = api.model("TokenRequest")(name="nightly export", scopes=[api.model("ScopesEnum").READ])
    token = api.call("users.token_create", owner.id, client=admin, body=body)
    assert api.call("users.user_read", owner.id, client=api.client(token.token)).id == owner.id
    key = api.call(
        "devices.key_rotate", device.id, client=admin, body=api.model("DeviceKeyRequest")(overlap_seconds=0)
    )
    assert key.key.startswith(key.prefix)


def test_errors_are_problems(api: Generated, admin: Any, device: Any) -> None:
    wrong = api.call("devices.device_list", client=api.client("plt_00000000.wrong"))
    assert (type(wrong).__name__, wrong.status, wrong.title) == ("Problem", 401, "Unauthorized")
    absent = api.call("analyses.task_read", uuid4(), client=admin)
    assert (absent.status, bool(absent.request_id)) == (404, True)
    bad = api.call("devices.device_list", client=admin, limit=0)
    assert [(error.field, bad.status) for error in bad.errors] == [("limit", 400)]
    sender = api.client(device.key, "Device")
    reading = api.model("NewReading")()
    refused = api.call("readings.reading_create", device.id, client=sender, body=reading)
    assert [error.field for error in refused.errors] == ["x", "y", "z"]


def test_probes(api: Generated, admin: Any) -> None:
    assert api.call("probes.livez", client=admin, details="").database == "ok"
    assert api.call("probes.healthz", client=admin) is None

"""A portal with kernels from outside: an installed package, and a kernel.py by a setting."""

import csv
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.calculations.outside import documented_kernel_file, install_example
from tests.support.portal import Person, Portal, eventually, portal_with_servers

YEAR = {"date_start": "2024-01-01", "date_fin": "2024-12-31", "lag": 7}
LIMIT_SECONDS = 3

MORE = """
import time
import pandas as pd

def gaps(date_start, date_fin, lag):
    dates = pd.date_range(date_start, date_fin, freq=f"{lag}D")
    return pd.DataFrame({"pressure": [1.0, float("nan"), *range(len(dates) - 2)]}, index=dates)

def pressure(date_start, date_fin, lag, level: float = 2.5):
    dates = pd.date_range(date_start, date_fin, freq=f"{lag}D")
    return pd.DataFrame({"pressure": level}, index=dates)

def endless(date_start):
    while True:
        time.sleep(0.01)

def locked(date_start):
    "Holds the lock of the interpreter in one call."
    return pow(3, 10**10)
"""
# Hides what an installation without the extra `forecast` lacks.
LEAN = """
import sys
sys.modules.update(dict.fromkeys(("statsmodels", "pandas", "scipy")))
"""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    folder = tmp_path_factory.mktemp("outside")
    install_example(folder / "site")
    (folder / "kernel.py").write_text(documented_kernel_file())
    (folder / "more.py").write_text(MORE)
    more = [f"{folder}/more.py:{name}" for name in ("gaps", "pressure", "endless", "locked")]
    with portal_with_servers() as portal:
        portal.env["PYTHONPATH"] = str(folder / "site")
        portal.env["KERNELS"] = ", ".join([f"{folder}/kernel.py", *more])
        portal.env["CALCULATION_SECONDS"] = str(LIMIT_SECONDS)
        portal.install()
        yield portal


@pytest.fixture(scope="module")
def owner(portal: Portal) -> Person:
    return portal.new_user()


def ask(portal: Portal, owner: Person, kernel: str, **fields: Any) -> str:
    return portal.made("/calculations/", owner.token, {"kernel": kernel} | fields)["id"]


def refused(portal: Portal, owner: Person, **body: Any) -> dict[str, str]:
    """Messages by field."""
    response = portal.request("POST", "/calculations/", token=owner.token, json=body)
    assert response.status_code == 400, response.text
    return {error["field"]: error["message"] for error in response.json()["errors"]}


def read(portal: Portal, owner: Person, run_id: str) -> dict:
    fields = "error,libraries,kernel_version,broken_invariants,seed"
    return portal.get(f"/calculations/{run_id}/", owner.token, params={"fields": fields})


def over(portal: Portal, owner: Person, run_id: str) -> dict:
    def found() -> dict | None:
        run = read(portal, owner, run_id)
        return None if run["status"] in ("queued", "running") else run

    return eventually(found)


def done(portal: Portal, owner: Person, kernel: str, **fields: Any) -> dict:
    run = over(portal, owner, ask(portal, owner, kernel, **fields))
    assert (run["status"], run["error"]) == ("finished", None)
    return run


def csv_rows(portal: Portal, owner: Person, run_id: str) -> list[dict[str, str]]:
    path = f"/calculations/{run_id}/"
    response = portal.request("GET", path, token=owner.token, params={"format": "csv"})
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text)))


def page(portal: Portal, path: str) -> str:
    """A page as the admin sees it."""
    with requests.Session() as session:
        session.trust_env = False
        log_in = session.get(portal.url + path)
        fields = {"username": portal.admin_login, "password": portal.admin_password}
        fields |= {"csrfmiddlewaretoken": session.cookies["csrftoken"]}
        response = session.post(log_in.url, data=fields)
        assert response.status_code == 200, response.text
        response = session.get(portal.url + path)
        assert response.status_code == 200, response.text
        return response.text


def test_the_worker_computes_with_the_example_package(portal: Portal, owner: Person) -> None:
    run = done(portal, owner, "decline", start="2026-01-01", days=3, rate=10)
    assert [row["rate"] for row in run["result"]] == [10, 9.95, 9.95 * 0.995]
    assert list(run["result"][0]) == ["date", "rate", "produced"]
    rain = done(portal, owner, "rainfall", first="2026-01-01", days=5, seed=3)
    assert (rain["kernel_version"], rain["libraries"]["plumbline-example"]) == ("1.2.0", "1.2.0")
    assert rain["result"][4]["day"] == "2026-01-05"
    assert done(portal, owner, "rainfall", first="2026-01-01", days=5, seed=3)["result"] == rain["result"]
    assert refused(portal, owner, kernel="rainfall", first="tomorrow", days=1.5).keys() == {"first", "days"}


def test_a_kernel_file_needs_no_declaration(portal: Portal, owner: Person) -> None:
    first, same, other = (done(portal, owner, "calculate", **YEAR, seed=seed) for seed in (1, 1, 2))
    assert list(first["result"][0]) == ["date", "liquid", "oil", "water", "wct"]
    assert len(first["result"]) == 53
    assert first["result"] == same["result"] != other["result"]
    assert {"numpy", "pandas"} <= first["libraries"].keys()
    assert [row["date"] for row in csv_rows(portal, owner, first["id"])][:2] == ["2024-01-01", "2024-01-08"]


def test_parameters_of_a_function_are_validated(portal: Portal, owner: Person) -> None:
    assert refused(portal, owner, kernel="calculate").keys() == YEAR.keys()
    bad = {"date_start": "2024-1-1", "date_fin": 5, "lag": 0}
    assert refused(portal, owner, kernel="calculate", **bad).keys() == bad.keys()
    early = YEAR | {"date_fin": "2023-12-31"}
    assert refused(portal, owner, kernel="calculate", **early) == {
        "date_fin": "Must not be before date_start."
    }
    many = YEAR | {"date_fin": "2999-01-01", "lag": 1}
    assert refused(portal, owner, kernel="calculate", **many).keys() == {"date_fin", "lag"}
    assert refused(portal, owner, kernel="calculate", **YEAR, pause=1).keys() == {"pause"}


def test_well_stays_the_default(portal: Portal, owner: Person) -> None:
    run_id = portal.made("/calculations/", owner.token, YEAR)["id"]
    assert (
        portal.get(f"/calculations/{run_id}/", owner.token, params={"fields": "kernel"})["kernel"] == "well"
    )
    message = refused(portal, owner, kernel="absent")["kernel"]
    assert message.endswith(
        "the kernels are: well, forecast, decline, rainfall, calculate, gaps, pressure, endless, locked."
    )


def test_other_columns_are_read_from_the_rows(portal: Portal, owner: Person) -> None:
    run = done(portal, owner, "pressure", **YEAR)
    assert run["result"][0] == {"date": "2024-01-01", "pressure": 2.5}
    assert csv_rows(portal, owner, run["id"])[0] == {"date": "2024-01-01", "pressure": "2.5"}
    other = done(portal, owner, "pressure", **YEAR, level=3)
    shown = page(portal, f"/portal/calculations/{run['id']}/compare/?with={other['id']}")
    assert 'Largest difference of each column: pressure <data class="number" value="0.5"' in shown


def test_a_row_that_is_no_number_fails_the_run_by_name(portal: Portal, owner: Person) -> None:
    run = over(portal, owner, ask(portal, owner, "gaps", **YEAR))
    assert (run["status"], run["result"]) == ("failed", None)
    assert run["error"] == "BadRow: pressure of row 2 is not a finite number."


def test_form_table_and_openapi_come_from_the_signature(portal: Portal, owner: Person) -> None:
    form = page(portal, "/portal/calculations/new/?kernel=pressure")
    assert all(f'name="{name}"' in form for name in ("date_start", "date_fin", "lag", "level", "seed"))
    assert 'value="2.5"' in form
    assert "Production figures of a well." in page(portal, "/portal/calculations/new/?kernel=calculate")
    run = done(portal, owner, "calculate", **YEAR)
    assert "Liquid, m³/d" in page(portal, f"/portal/calculations/{run['id']}/")
    schema = portal.get("/schema/")
    asked = [
        each for each in schema["components"]["schemas"].values() if "kernel" in each.get("properties", {})
    ]
    kernels = {each["properties"]["kernel"].get("const") for each in asked}
    assert {"well", "forecast", "decline", "rainfall", "calculate"} <= kernels
    [query] = [p for p in schema["paths"]["/calculations/"]["get"]["parameters"] if p["name"] == "kernel"]
    assert {"calculate", "decline"} <= set(query["schema"]["enum"])


@pytest.mark.parametrize("kernel", ["endless", "locked"])
def test_a_function_ends_at_the_time_limit(portal: Portal, owner: Person, kernel: str) -> None:
    """`locked` lets no other thread and no signal handler run: its process is killed from outside."""
    run = over(portal, owner, ask(portal, owner, kernel, date_start="2026-01-01"))
    assert (run["status"], run["error"]) == ("failed", "It exceeded its time limit and was stopped.")
    done(portal, owner, "calculate", **YEAR)


def test_a_cancelled_function_ends(portal: Portal, owner: Person) -> None:
    run_id = ask(portal, owner, "endless", date_start="2026-01-01")
    eventually(lambda: read(portal, owner, run_id)["status"] == "running")
    answer = portal.request("POST", f"/calculations/{run_id}/cancel", token=owner.token)
    assert answer.status_code == 202
    done(portal, owner, "calculate", **YEAR)
    assert read(portal, owner, run_id)["status"] == "cancelled"


def test_without_kernels_and_libraries_old_runs_are_shown(
    portal: Portal, owner: Person, tmp_path: Path
) -> None:
    """The same portal started again, lean: without the extra `forecast`, and without kernels from outside."""
    run = done(portal, owner, "calculate", **YEAR)
    (tmp_path / "sitecustomize.py").write_text(LEAN)
    for name in ("web", "worker"):
        child = portal.child(name)
        lean = portal.env | {"PYTHONPATH": str(tmp_path), "KERNELS": ""}
        child.command = dataclasses.replace(child.command, env=lean)
        portal.kill(name)
        portal.start(name)
    portal.wait_until_ready()
    assert refused(portal, owner, kernel="forecast")["kernel"] == "Unknown kernel; the kernels are: well."
    assert "No kernel forecast: pandas or scipy or statsmodels is not installed." in child.log.read_text()
    assert len(done(portal, owner, "well", **YEAR)["result"]) == 53
    assert read(portal, owner, run["id"]) == run
    assert len(csv_rows(portal, owner, run["id"])) == 53
    shown = page(portal, f"/portal/calculations/{run['id']}/")
    assert "Liquid, m³/d" in shown
    assert "Run again" not in shown
    again = portal.request("POST", f"/calculations/{run['id']}/rerun", token=owner.token)
    assert (again.status_code, again.json()["detail"]) == (409, "There is no kernel calculate any more.")

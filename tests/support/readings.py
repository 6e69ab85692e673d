"""Pytest plugin (see conftest.py): fixtures that run a test on each storage of readings."""

from typing import Any

import pytest

from devices import storage
from devices.storage.interface import Storage
from tests.support.logs import ENGINES


@pytest.fixture(scope="session")
def chdb_readings(chdb: str) -> str:
    """The URL of the in-process ClickHouse, with the schema of readings."""
    storage.opened(chdb).create_schema()
    return chdb


@pytest.fixture(params=ENGINES)
def kept(request: pytest.FixtureRequest, settings: Any, db: None) -> Storage:
    """An empty storage, named by READINGS_URL."""
    if request.param == "clickhouse":
        settings.READINGS_URL = request.getfixturevalue("chdb_readings")
        storage.current().client.command("TRUNCATE TABLE readings")
    return storage.current()


@pytest.fixture
def clickhouse_readings(chdb_readings: str, settings: Any, db: None) -> Storage:
    settings.READINGS_URL = chdb_readings
    storage.current().client.command("TRUNCATE TABLE readings")
    return storage.current()

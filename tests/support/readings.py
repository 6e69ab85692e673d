"""Every storage of readings in turn, for suites that ask all of them. A pytest plugin (see conftest.py)."""

from typing import Any

import pytest

from devices import storage
from devices.storage.interface import Storage
from tests.support.logs import ENGINES


@pytest.fixture(scope="session")
def chdb_readings(chdb: str) -> str:
    """The URL of a ClickHouse within this process, with the schema made."""
    storage.opened(chdb).create_schema()
    return chdb


@pytest.fixture(params=ENGINES)
def kept(request: pytest.FixtureRequest, settings: Any, db: None) -> Storage:
    """The storage that READINGS_URL now names, empty."""
    if request.param == "clickhouse":
        settings.READINGS_URL = request.getfixturevalue("chdb_readings")
        storage.current().client.command("TRUNCATE TABLE readings")
    return storage.current()


@pytest.fixture
def clickhouse_readings(chdb_readings: str, settings: Any, db: None) -> Storage:
    settings.READINGS_URL = chdb_readings
    storage.current().client.command("TRUNCATE TABLE readings")
    return storage.current()

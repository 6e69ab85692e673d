"""Pytest plugin (see conftest.py): fixtures that run a test on each storage of activity logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analytics.activity import storage
from analytics.activity.storage.interface import ActivityStorage
from devices import storage as readings
from tests.support import factories

ENGINES = ["postgresql", pytest.param("clickhouse", marks=pytest.mark.clickhouse)]


@pytest.fixture(scope="session")
def chdb(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of the in-process ClickHouse, with its schema; a process can have only one."""
    folder: Path = tmp_path_factory.mktemp("chdb")
    url = f"chdb://{folder}"
    for kind in (storage, readings):
        kind.ENGINES["chdb"] = kind.CLICKHOUSE
    storage.opened(url).create_schema()
    return url


@pytest.fixture(params=ENGINES)
def logs(request: pytest.FixtureRequest, settings: Any, db: None) -> Iterator[ActivityStorage]:
    """An empty storage, named by ACTIVITY_URL."""
    if request.param == "clickhouse":
        settings.ACTIVITY_URL = request.getfixturevalue("chdb")
        storage.current().client.command("TRUNCATE TABLE activity_log")
    else:
        factories.event_types()
    return storage.current()

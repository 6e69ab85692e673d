"""The schema, of one server and of a cluster."""

import pytest
from django.core.management import call_command

from devices.storage.clickhouse.schema import schema
from tests.storage.clickhouse.portal import number_of
from tests.support import factories

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]


def test_the_schema_is_made_once_and_stays(device, clickhouse_readings):
    factories.readings(device, [(1, 2, 3)])
    clickhouse_readings.create_schema()
    assert number_of(device) == 1


def test_the_schema_of_a_cluster_is_valid_and_sharded_by_device(clickhouse_readings):
    statements = schema("main")
    for statement in statements:
        assert "ON CLUSTER main" in statement
        clickhouse_readings.client.command(f"EXPLAIN AST {statement}")
    assert "ReplicatedMergeTree" in statements[0]
    assert "Distributed(main, currentDatabase(), readings_local, cityHash64(device_id))" in statements[1]


def test_an_invalid_cluster_name_is_refused():
    with pytest.raises(ValueError, match="not a valid cluster name"):
        schema("main; DROP TABLE x")


def test_the_command_creates_the_tables(capsys):
    call_command("clickhouse_schema")
    assert capsys.readouterr().out == "ClickHouse is ready for the readings.\n"

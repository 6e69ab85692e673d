from collections.abc import Sequence
from functools import cached_property
from typing import Any

from devices.storage.clickhouse.client import NO_SCHEMA, Server
from devices.storage.clickhouse.schema import DISTRIBUTED_ENGINE
from devices.storage.interface import StorageUnavailable

# Device ids in one query: a server takes parameters of up to 128 KiB (http_max_field_value_size).
DEVICES_AT_ONCE = 10_000
# A deletion returns when every replica has done it.
DELETE_SETTINGS = {"lightweight_deletes_sync": 2, "mutations_sync": 2}


class ReadingsServer(Server):
    """A server with the table `readings`: plain, or distributed over the shards of a cluster."""

    @cached_property
    def table(self) -> tuple[str, str]:
        """The table's database and engine with parameters. Raises StorageUnavailable."""
        found = self.query(
            "SELECT database, engine_full FROM system.tables"
            " WHERE database = currentDatabase() AND name = 'readings'"
        )
        if not found:
            raise StorageUnavailable(NO_SCHEMA)
        return found[0]

    @cached_property
    def cluster(self) -> str:
        """The cluster's name, or an empty text for a plain table. Raises StorageUnavailable."""
        match = DISTRIBUTED_ENGINE.match(self.table[1])
        return match[1] if match else ""

    @cached_property
    def shards(self) -> str:
        """The start of a table function that runs a statement on each shard; empty for a plain table."""
        return f"cluster('{self.cluster}', " if self.cluster else ""

    def on_shards(self, statement: str) -> str:
        """Make each shard run a statement that groups by device: a shard has all readings of its devices.

        A statement on the distributed table would send every reading to one server, to be grouped there.
        """
        if not self.shards:
            return statement
        local = statement.replace("FROM readings ", f"FROM `{self.table[0]}`.readings_local ")
        return f"SELECT * FROM {self.shards}view({local}))"

    def query_devices(self, statement: str, device_ids: Sequence[int], **parameters: Any) -> list[tuple]:
        """Run a query with the parameter `devices` once for every DEVICES_AT_ONCE ids; returns all rows."""
        return [
            row
            for i in range(0, len(device_ids), DEVICES_AT_ONCE)
            for row in self.query(statement, devices=list(device_ids[i : i + DEVICES_AT_ONCE]), **parameters)
        ]

    def delete(self, condition: str) -> None:
        """Delete the readings for which `condition`, SQL, is true."""
        table = f"readings_local ON CLUSTER {self.cluster}" if self.cluster else "readings"
        self.run([f"DELETE FROM {table} WHERE {condition}"], **DELETE_SETTINGS)

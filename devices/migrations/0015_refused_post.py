"""The last refused post of each device. Rows disappear with their device, in the database itself.

Only `devices.ingestion.refusals` uses it. Room is left in each page: a row is written again and again, and no
index covers what changes.
"""

from django.db import migrations

FORWARD = """
CREATE TABLE devices_refusedpost (
    device_id integer PRIMARY KEY REFERENCES devices_device ON DELETE CASCADE,
    at timestamptz NOT NULL,
    status smallint NOT NULL,
    reason text NOT NULL,
    total bigint NOT NULL
) WITH (fillfactor = 50)
"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0014_plain_help_texts")]

    operations = [migrations.RunSQL(FORWARD, "DROP TABLE devices_refusedpost")]

"""The readings table: monthly partitions, no key, no foreign key (both cost more than they bring at the door)."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


LARGEST = "1.7976931348623157e308"
FORWARD = f"""
CREATE TABLE devices_reading (
    device_id integer NOT NULL,
    time timestamptz NOT NULL,
    values double precision[] NOT NULL,
    -- NaN equals itself here and exceeds every number, so it is refused as too large. IS TRUE: a null inside fails.
    CONSTRAINT reading_values_finite CHECK (
        (-{LARGEST} <= ALL (values) AND {LARGEST} >= ALL (values)) IS TRUE),
    CONSTRAINT reading_values_one_dimension CHECK ((array_ndims(values) = 1) IS TRUE),
    CONSTRAINT reading_time_finite CHECK (isfinite(time))
) PARTITION BY RANGE (time);
CREATE INDEX devices_reading_device_time ON devices_reading (device_id, time);
CREATE TABLE devices_reading_before_2000 PARTITION OF devices_reading
    FOR VALUES FROM (MINVALUE) TO ('2000-01-01 00:00:00+00');
CREATE TABLE devices_reading_from_2100 PARTITION OF devices_reading
    FOR VALUES FROM ('2100-01-01 00:00:00+00') TO (MAXVALUE);
"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD, "DROP TABLE devices_reading")],
            state_operations=[
                migrations.CreateModel(
                    name="Reading",
                    fields=[
                        ("time", models.DateTimeField(primary_key=True, serialize=False)),
                        ("values", django.contrib.postgres.fields.ArrayField(models.FloatField(), size=None)),
                        (
                            "device",
                            models.ForeignKey(
                                db_constraint=False,
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="devices.device",
                            ),
                        ),
                    ],
                    options={"ordering": ("-time",)},
                ),
            ],
        ),
    ]

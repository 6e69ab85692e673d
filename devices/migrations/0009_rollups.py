"""Sorted segments of readings, what was changed since they were built, and when a device is looked at again.

The types of PostgreSQL's snapshots have no fields in Django, which knows of these tables only to empty them.
"""

from django.db import migrations, models


FORWARD = """
CREATE TABLE devices_segment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL,
    level smallint NOT NULL,
    -- What it stands for: all readings of this half-open stretch, as far as they were visible in `built_in`.
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    built_in pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    -- Transaction numbers mean something in the cluster only in which they were given.
    cluster bigint NOT NULL DEFAULT (pg_control_system()).system_identifier,
    built_at timestamptz NOT NULL DEFAULT now(),
    count integer NOT NULL,
    excluded integer NOT NULL,
    -- Stamps of all its readings; of those that are not excluded. Of none: infinity, -infinity.
    low_time timestamptz NOT NULL,
    high_time timestamptz NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    intervals integer NOT NULL,
    longest_start timestamptz NOT NULL,
    longest bigint NOT NULL,
    -- Least, largest and exact sum of each channel.
    totals bytea NOT NULL,
    -- Of each channel and of the intervals: all values sorted, in blocks (devices/segments.py).
    sample bytea NOT NULL,
    widths bytea NOT NULL,
    packed bytea NOT NULL,
    interval_sums bytea NOT NULL,
    -- Least, largest and mean of each channel over runs of readings in the order of time.
    runs bytea NOT NULL,
    CONSTRAINT segment_period_ordered CHECK (start_time < end_time),
    CONSTRAINT segment_unique UNIQUE (device_id, level, start_time)
);
-- Packed already; not compressed, a slice can be read without the rest.
ALTER TABLE devices_segment
    ALTER sample SET STORAGE EXTERNAL, ALTER widths SET STORAGE EXTERNAL, ALTER packed SET STORAGE EXTERNAL,
    ALTER interval_sums SET STORAGE EXTERNAL, ALTER runs SET STORAGE EXTERNAL;

CREATE TABLE devices_change (
    device_id integer NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    is_wide boolean NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT change_period_ordered CHECK (first_time <= last_time)
);
-- Those within one hour are found by where they begin, the few others by their device.
CREATE INDEX change_narrow ON devices_change (device_id, first_time) WHERE NOT is_wide;
CREATE INDEX change_wide ON devices_change (device_id) WHERE is_wide;
CREATE INDEX change_newest ON devices_change (device_id, xid);

CREATE TABLE devices_rollup (
    device_id integer PRIMARY KEY,
    checked_at timestamptz NOT NULL DEFAULT now(),
    checked_in pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    next_check timestamptz NOT NULL
);
CREATE INDEX rollup_next ON devices_rollup (next_check);
"""
BACKWARD = "DROP TABLE devices_segment; DROP TABLE devices_change; DROP TABLE devices_rollup;"


class Migration(migrations.Migration):
    dependencies = [("devices", "0008_profile_expected_interval")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORWARD, BACKWARD)],
            state_operations=[
                migrations.CreateModel(
                    name="Segment",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("device_id", models.IntegerField()),
                        ("level", models.SmallIntegerField()),
                        ("start_time", models.DateTimeField()),
                        ("end_time", models.DateTimeField()),
                        ("count", models.IntegerField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Change",
                    fields=[
                        ("first_time", models.DateTimeField(primary_key=True, serialize=False)),
                        ("device_id", models.IntegerField()),
                    ],
                ),
                migrations.CreateModel(
                    name="Rollup",
                    fields=[
                        ("device_id", models.IntegerField(primary_key=True, serialize=False)),
                        ("next_check", models.DateTimeField()),
                    ],
                ),
            ],
        ),
    ]

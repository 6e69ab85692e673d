"""A function that makes a partition as the table's owner: the role that runs the portal may own nothing."""

from django.db import migrations

# A partition is attached and not created in place: see devices/storage/postgresql/partitions.py.
FORWARD = """
CREATE FUNCTION devices_make_partition(name text, first timestamptz, behind timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF name !~ '^devices_reading_[0-9]{4}(_[0-9]{2})?$' THEN
        RAISE EXCEPTION 'Not the name of a partition: %', name USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE devices_reading INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format(
        'ALTER TABLE devices_reading ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, behind
    );
END
$$;
DO $$ BEGIN
    EXECUTE format(
        'ALTER FUNCTION devices_make_partition SET search_path = %I, pg_temp', current_schema()
    );
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0019_trail")]

    operations = [migrations.RunSQL(FORWARD, "DROP FUNCTION devices_make_partition")]

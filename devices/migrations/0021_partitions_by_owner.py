"""Functions that change partitions as the table's owner: the role that runs the portal may own nothing."""

from django.db import migrations

# When and how they are called: devices/storage/postgresql/partitions.py.
FORWARD = """
CREATE FUNCTION devices_check_partition(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF name IS NULL OR name !~ '^devices_reading_([0-9]{4}(_[0-9]{2})?|beyond)$' THEN
        RAISE EXCEPTION 'Not the name of a partition: %', name USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;
CREATE FUNCTION devices_create_partition(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM devices_check_partition(name);
    EXECUTE format('CREATE TABLE %I (LIKE devices_reading INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
END
$$;
CREATE FUNCTION devices_attach_partition(name text, first timestamptz, behind timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM devices_check_partition(name);
    EXECUTE format(
        'ALTER TABLE devices_reading ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, behind
    );
END
$$;
CREATE FUNCTION devices_detach_partition(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM devices_check_partition(name);
    EXECUTE format('ALTER TABLE devices_reading DETACH PARTITION %I', name);
END
$$;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{create,attach,detach}'::text[] LOOP
        EXECUTE format(
            'ALTER FUNCTION devices_%s_partition SET search_path = %I, pg_temp', name, current_schema()
        );
    END LOOP;
END $$;
"""
BACKWARD = """
DROP FUNCTION devices_create_partition;
DROP FUNCTION devices_attach_partition;
DROP FUNCTION devices_detach_partition;
DROP FUNCTION devices_check_partition;
"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0020_trail")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

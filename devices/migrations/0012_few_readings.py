from django.db import migrations


# A function, because its statements are planned once in a connection: planning anew took most of the time of
# reading a hundred rows. The plan knows no device, and one with few readings may lie in a table with millions
# of others': it must be the index whatever the table's statistics say.
FORWARD = """
CREATE FUNCTION devices_few_readings(
    device integer, first_time timestamptz, last_time timestamptz, most integer,
    OUT state text, OUT readings bytea
) STABLE LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    IF EXISTS (SELECT FROM devices_segment WHERE device_id = device) OR EXISTS (
        SELECT FROM devices_exclusion WHERE device_id = device AND lifted_at IS NULL
    ) THEN
        RETURN;
    END IF;
    SELECT
        (SELECT system_identifier FROM pg_control_system()) || '/' || pg_current_snapshot(),
        -- In the order of the rows, which come in that of the index.
        string_agg(timestamptz_send(r.time) || array_send(r.values), ''::bytea)
    INTO state, readings
    FROM (
        SELECT time, values FROM devices_reading
        WHERE device_id = device AND time >= first_time AND time < last_time
        ORDER BY time LIMIT most
    ) AS r;
END
$$
"""
BACKWARD = "DROP FUNCTION devices_few_readings"


class Migration(migrations.Migration):
    dependencies = [("devices", "0011_access_change")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""The last refused post of each device; only `devices.ingestion.refusals` uses it.

A trigger deletes a row with its device. Not a foreign key: Django, which does not know the table, could then not
truncate that of devices, as `flush` does. Room is left in each page: a row is written again and again, and no index
covers what changes.
"""

from django.db import migrations

FORWARD = """
CREATE TABLE devices_refusedpost (
    device_id integer PRIMARY KEY,
    at timestamptz NOT NULL,
    status smallint NOT NULL,
    reason text NOT NULL,
    total bigint NOT NULL
) WITH (fillfactor = 50);
CREATE FUNCTION devices_forget_refused_post() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        DELETE FROM devices_refusedpost WHERE device_id = OLD.id;
    ELSE
        DELETE FROM devices_refusedpost;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refused_post AFTER DELETE ON devices_device
    FOR EACH ROW EXECUTE FUNCTION devices_forget_refused_post();
CREATE TRIGGER refused_post_of_all AFTER TRUNCATE ON devices_device
    FOR EACH STATEMENT EXECUTE FUNCTION devices_forget_refused_post();
"""
BACKWARD = "DROP FUNCTION devices_forget_refused_post() CASCADE; DROP TABLE devices_refusedpost;"


class Migration(migrations.Migration):
    dependencies = [("devices", "0016_device_expected_interval")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

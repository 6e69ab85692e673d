"""A log of whatever may change who may post what, written by triggers: however a change is made, it is there."""

from django.db import migrations


# Table, the columns that matter, what a change is about, and the column with its number.
ABOUT_ONE = (
    ("devices_device", "uuid, owner_id, profile_id, external_id, time_zone, is_active", "device", "id"),
    ("devices_devicekey", "prefix, digest, expires_at, revoked_at, device_id", "device", "device_id"),
    ("users_token", "prefix, digest, expires_at, revoked_at, scopes, user_id", "user", "user_id"),
    ("users_user", "is_active, role", "user", "id"),
)
ABOUT_ALL = (
    ("devices_deviceprofile", "UPDATE OF allows_future OR DELETE OR TRUNCATE"),
    ("devices_channel", "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
    *((table, "TRUNCATE") for table, *_ in ABOUT_ONE),
)

LOG = """
CREATE TABLE devices_accesschange (
    -- Of all there is, where they are null.
    kind text,
    number bigint,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX access_change_newest ON devices_accesschange (xid);
CREATE FUNCTION devices_note_access_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        INSERT INTO devices_accesschange (kind, number)
        VALUES (TG_ARGV[0], (to_jsonb(OLD) ->> TG_ARGV[1])::bigint);
    ELSE
        INSERT INTO devices_accesschange DEFAULT VALUES;
    END IF;
    RETURN NULL;
END
$$;
"""
ONE = """
CREATE TRIGGER access_change AFTER UPDATE OF {columns} OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION devices_note_access_change({kind}, {number});
"""
ALL = """
CREATE TRIGGER access_change_of_all AFTER {events} ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION devices_note_access_change();
"""
FORWARD = "".join(
    (
        LOG,
        *(ONE.format(table=t, columns=c, kind=kind, number=number) for t, c, kind, number in ABOUT_ONE),
        *(ALL.format(table=table, events=events) for table, events in ABOUT_ALL),
    )
)
BACKWARD = "DROP FUNCTION devices_note_access_change() CASCADE; DROP TABLE devices_accesschange;"


class Migration(migrations.Migration):
    dependencies = [("devices", "0010_forget_cleared_at"), ("users", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

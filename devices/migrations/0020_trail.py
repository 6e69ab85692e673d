"""Triggers that note changes of devices, keys, profiles and exclusions in the trail; see `users.trail`."""

from django.db import migrations

# Table, and the arguments of `trail_note_change`.
TRACKED = (
    ("devices_device", "'device', 'id', 'name,external_id,uuid', 'user', 'owner_id'"),
    ("devices_devicekey", "'device_key', 'id', 'prefix', 'device', 'device_id'"),
    ("devices_deviceprofile", "'profile', 'id', 'name'"),
    ("devices_channel", "'channel', 'id', 'name', 'profile', 'profile_id'"),
    ("devices_exclusion", "'exclusion', 'id', 'reason', 'device', 'device_id'"),
)
FORWARD = """
CREATE TRIGGER trail AFTER INSERT OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION trail_note_change({arguments});
CREATE TRIGGER trail_of_changes AFTER UPDATE ON {table}
    FOR EACH ROW WHEN ({is_change}) EXECUTE FUNCTION trail_note_change({arguments});
CREATE TRIGGER trail_of_all AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION trail_note_change({arguments});
"""
BACKWARD = """
DROP TRIGGER trail ON {table};
DROP TRIGGER trail_of_changes ON {table};
DROP TRIGGER trail_of_all ON {table};
"""
IS_CHANGE = "OLD.* IS DISTINCT FROM NEW.*"
# A key's last use is stored once a minute while its device posts: that is no event.
IS_CHANGE_OF_KEY = "to_jsonb(OLD) - 'last_used_at' IS DISTINCT FROM to_jsonb(NEW) - 'last_used_at'"


class Migration(migrations.Migration):
    dependencies = [("devices", "0019_device_name_controls"), ("trail", "0001_trail")]

    operations = [
        migrations.RunSQL(
            FORWARD.format(
                table=table,
                arguments=arguments,
                is_change=IS_CHANGE_OF_KEY if table == "devices_devicekey" else IS_CHANGE,
            ),
            BACKWARD.format(table=table),
        )
        for table, arguments in TRACKED
    ]

"""Triggers that note in the trail who deletes analyses and calculations; see `users.trail`."""

from django.db import migrations

# Table, and the arguments of `trail_note_deletion`.
TRACKED = (
    ("analytics_analysis", "'analysis', 'id', 'device', 'device_id', 'snapshot,counts'"),
    ("analytics_calculation", "'calculation', 'name,kernel', 'user', 'asked_by_id', ''"),
)
FORWARD = """
CREATE TRIGGER trail AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION trail_note_deletion({arguments});
CREATE TRIGGER trail_of_all AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION trail_note_deletion({arguments});
"""
BACKWARD = """
DROP TRIGGER trail ON {table};
DROP TRIGGER trail_of_all ON {table};
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0007_run_turn_indexes"), ("trail", "0003_deletions")]

    operations = [
        migrations.RunSQL(FORWARD.format(table=table, arguments=arguments), BACKWARD.format(table=table))
        for table, arguments in TRACKED
    ]

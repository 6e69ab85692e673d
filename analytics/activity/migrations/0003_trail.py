"""Triggers that note in the trail who deletes blogs and posts; see `users.trail`."""

from django.db import migrations

# Table, and the arguments of `trail_note_deletion`.
TRACKED = (
    ("activity_blog", "'blog', 'name', 'user', 'owner_id', 'description'"),
    ("activity_post", "'post', 'header', 'blog', 'blog_id', 'text'"),
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
    dependencies = [("activity", "0002_event_types"), ("trail", "0003_deletions")]

    operations = [
        migrations.RunSQL(FORWARD.format(table=table, arguments=arguments), BACKWARD.format(table=table))
        for table, arguments in TRACKED
    ]

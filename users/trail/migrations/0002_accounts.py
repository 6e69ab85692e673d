"""Triggers on users and what opens their accounts."""

from django.db import migrations

# Table, the arguments of `trail_note_change`, and a column that changes with each use: such a change is no event.
TRACKED = (
    ("users_user", "'user', 'id', 'login'", "last_login"),
    ("users_token", "'token', 'id', 'prefix', 'user', 'user_id'", "last_used_at"),
    ("users_invitation", "'invitation', 'id', 'email'", "last_used_at"),
    ("mfa_authenticator", "'second_factor', 'id', 'type', 'user', 'user_id'", "last_used_at"),
    ("socialaccount_socialaccount", "'identity', 'id', 'provider', 'user', 'user_id'", "last_login"),
)
FORWARD = """
CREATE TRIGGER trail AFTER INSERT OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION trail_note_change({arguments});
CREATE TRIGGER trail_of_changes AFTER UPDATE ON {table}
    FOR EACH ROW WHEN (to_jsonb(OLD) - '{noise}' IS DISTINCT FROM to_jsonb(NEW) - '{noise}')
    EXECUTE FUNCTION trail_note_change({arguments});
CREATE TRIGGER trail_of_all AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION trail_note_change({arguments});
"""
BACKWARD = """
DROP TRIGGER trail ON {table};
DROP TRIGGER trail_of_changes ON {table};
DROP TRIGGER trail_of_all ON {table};
"""


class Migration(migrations.Migration):
    dependencies = [
        ("trail", "0001_trail"),
        ("users", "0003_invitation"),
        ("mfa", "0003_authenticator_type_uniq"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
    ]

    operations = [
        migrations.RunSQL(
            FORWARD.format(table=table, arguments=arguments, noise=noise), BACKWARD.format(table=table)
        )
        for table, arguments, noise in TRACKED
    ]

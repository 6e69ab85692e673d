from django.db import migrations

CREATE = """
CREATE TABLE users_attempt_cache (
    key text PRIMARY KEY,
    value text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX users_attempt_cache_expires_at ON users_attempt_cache (expires_at);
"""


class Migration(migrations.Migration):
    dependencies = [("users", "0004_email_changed_at")]

    operations = [migrations.RunSQL(CREATE, "DROP TABLE users_attempt_cache")]

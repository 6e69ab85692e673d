from django.db import migrations

# As if they were requested now, one after another.
NUMBER = """
    UPDATE {table} AS run SET turn = numbered.turn
    FROM (
        SELECT id, row_number() OVER (PARTITION BY asked_by_id ORDER BY asked_at, id) AS turn
        FROM {table} WHERE status = 'queued'
    ) AS numbered
    WHERE run.id = numbered.id AND run.status = 'queued'
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0005_run_turn"),
    ]

    operations = [
        migrations.RunSQL(NUMBER.format(table=table), migrations.RunSQL.noop)
        for table in ("analytics_analysis", "analytics_calculation")
    ]

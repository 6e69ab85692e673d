from django.db import migrations, models

FIELD = models.BigIntegerField(db_default=0, default=0, editable=False)


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0004_run_claimed_by_index"),
    ]

    operations = [
        # The default in the database is for processes of the version before, which run on meanwhile.
        migrations.AddField(model_name=model, name=name, field=FIELD.clone())
        for model in ("analysis", "calculation")
        for name in ("turn", "result_bytes")
    ]

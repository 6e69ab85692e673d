from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0004_ingestion"),
    ]

    operations = [
        migrations.CreateModel(
            name="Import",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255, verbose_name="file")),
                (
                    "digest",
                    models.CharField(
                        help_text="Of the file's content.", max_length=64, verbose_name="SHA-256"
                    ),
                ),
                (
                    "options",
                    models.CharField(
                        help_text="How it was read: the same otherwise is another import.", max_length=100
                    ),
                ),
                ("line", models.BigIntegerField(default=0, verbose_name="lines done")),
                ("position", models.BigIntegerField(default=0, verbose_name="bytes done")),
                ("stored", models.BigIntegerField(default=0, verbose_name="readings stored")),
                ("refused", models.BigIntegerField(default=0, verbose_name="lines refused")),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ("-started_at",),
                "constraints": [models.UniqueConstraint(fields=("digest", "options"), name="import_once")],
            },
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0003_builtin_profiles"),
    ]

    operations = [
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "holder", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("holder", models.CharField(max_length=30)),
                ("key", models.CharField(max_length=255)),
                ("digest", models.BinaryField()),
                ("receipt", models.BinaryField()),
                ("created_at", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.AddField(
            model_name="deviceprofile",
            name="allows_future",
            field=models.BooleanField(
                default=False, help_text="Take stamps more than 5 minutes ahead, as of forecasts."
            ),
        ),
    ]

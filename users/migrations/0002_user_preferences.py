from django.db import migrations, models


class Migration(migrations.Migration):
    # Columns with a constant default: PostgreSQL adds them without rewriting the table.
    dependencies = [("users", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="language",
            field=models.CharField(
                choices=[("en", "English"), ("ru", "Русский")], db_default="en", default="en", max_length=2
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="time_zone",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="user",
            name="theme",
            field=models.CharField(
                choices=[("system", "As the system"), ("light", "Light"), ("dark", "Dark")],
                db_default="system",
                default="system",
                max_length=6,
            ),
        ),
    ]

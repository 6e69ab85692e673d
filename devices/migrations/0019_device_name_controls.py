"""Names of devices have no control characters. Nothing changes in the database: older names stay."""

from django.db import migrations, models

from devices.models import without_controls


class Migration(migrations.Migration):
    dependencies = [("devices", "0018_bin")]

    operations = [
        migrations.AlterField(
            "device", "name", models.CharField(blank=True, max_length=200, validators=[without_controls])
        )
    ]

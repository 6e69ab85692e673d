from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("devices", "0012_few_readings")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE devices_accesschange ADD COLUMN found_at timestamptz",
            "ALTER TABLE devices_accesschange DROP COLUMN found_at",
        )
    ]

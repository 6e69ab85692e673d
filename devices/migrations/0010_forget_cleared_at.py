from django.db import migrations


class Migration(migrations.Migration):
    """The change log tells it, with everything else that results have to know."""

    dependencies = [
        ("devices", "0009_rollups"),
    ]

    operations = [
        migrations.RemoveField(model_name="device", name="cleared_at"),
    ]

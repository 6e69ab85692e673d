from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0005_import"),
    ]

    operations = [
        migrations.AddField(
            model_name="device",
            name="cleared_at",
            field=models.DateTimeField(
                editable=False, help_text="When all its readings were last deleted.", null=True
            ),
        ),
    ]

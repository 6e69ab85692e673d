from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="analysis",
            name="percentiles",
            field=models.CharField(blank=True, default="", help_text="With commas between.", max_length=300),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="analysis",
            name="bucket",
            field=models.CharField(blank=True, default="", max_length=5),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="analysis",
            name="time_zone",
            field=models.CharField(blank=True, default="", help_text="Where buckets begin.", max_length=64),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="analysis",
            name="readings",
            field=models.BigIntegerField(default=0, help_text="How many went in."),
        ),
        migrations.AddField(
            model_name="analysis",
            name="snapshot",
            field=models.TextField(blank=True, default="", editable=False),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="analysis",
            name="counts",
            field=models.JSONField(default=dict, editable=False),
        ),
    ]

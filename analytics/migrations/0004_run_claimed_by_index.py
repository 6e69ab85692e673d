from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0003_calculations"),
    ]

    operations = [
        migrations.AlterField(
            model_name="analysis",
            name="claimed_by",
            field=models.CharField(blank=True, db_index=True, max_length=36),
        ),
        migrations.AlterField(
            model_name="calculation",
            name="claimed_by",
            field=models.CharField(blank=True, db_index=True, max_length=36),
        ),
    ]

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0007_exclusion"),
    ]

    operations = [
        migrations.AddField(
            model_name="deviceprofile",
            name="expected_interval_seconds",
            field=models.FloatField(
                blank=True,
                help_text="Between two readings, for coverage; empty: each device's own rhythm.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.000_001),
                    django.core.validators.MaxValueValidator(366 * 86400),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="deviceprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expected_interval_seconds", None),
                    models.Q(
                        ("expected_interval_seconds__gte", 0.000_001),
                        ("expected_interval_seconds__lte", 366 * 86400),
                    ),
                    _connector="OR",
                ),
                name="profile_expected_interval_in_range",
                violation_error_message="The expected interval must be from a microsecond to a year.",
            ),
        ),
    ]

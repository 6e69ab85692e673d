import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0015_channel_decimals")]

    operations = [
        migrations.AddField(
            model_name="device",
            name="expected_interval_seconds",
            field=models.FloatField(
                blank=True,
                help_text=(
                    "Interval of readings, for state and coverage. "
                    "Empty: the profile's, else the median interval."
                ),
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1e-06),
                    django.core.validators.MaxValueValidator(31622400),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expected_interval_seconds", None),
                    models.Q(
                        ("expected_interval_seconds__gte", 1e-06),
                        ("expected_interval_seconds__lte", 31622400),
                    ),
                    _connector="OR",
                ),
                name="device_expected_interval_in_range",
                violation_error_message="The expected interval must be from a microsecond to a year.",
            ),
        ),
    ]

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0014_plain_help_texts")]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="decimals",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Digits after the point that pages show. Empty: as many as the newest readings have.",
                null=True,
                validators=[django.core.validators.MaxValueValidator(15)],
            ),
        ),
        migrations.AddConstraint(
            model_name="channel",
            constraint=models.CheckConstraint(
                condition=models.Q(("decimals", None), ("decimals__lte", 15), _connector="OR"),
                name="channel_decimals_in_range",
                violation_error_message="A channel has 0 to 15 decimals.",
            ),
        ),
    ]

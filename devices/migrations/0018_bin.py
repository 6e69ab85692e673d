"""A bin for devices, and how far the erasure of a device is."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# As in 0011, with one column more.
TRIGGER = """
DROP TRIGGER access_change ON devices_device;
CREATE TRIGGER access_change AFTER UPDATE OF {columns} OR DELETE ON devices_device
    FOR EACH ROW EXECUTE FUNCTION devices_note_access_change(device, id);
"""
COLUMNS = "uuid, owner_id, profile_id, external_id, time_zone, is_active"


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0017_refused_post"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            "device", "binned_at", models.DateTimeField(blank=True, editable=False, null=True)
        ),
        migrations.RemoveConstraint("device", "device_external_id_unique"),
        migrations.AddConstraint(
            "device",
            models.UniqueConstraint(
                condition=models.Q(("binned_at", None)),
                fields=("owner", "external_id"),
                name="device_external_id_unique",
                violation_error_message="The owner has a device with this external id.",
            ),
        ),
        migrations.RunSQL(TRIGGER.format(columns=f"{COLUMNS}, binned_at"), TRIGGER.format(columns=COLUMNS)),
        migrations.AddField("erasure", "name", models.CharField(blank=True, max_length=255)),
        migrations.AddField(
            "erasure",
            "owner",
            models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            "erasure",
            "readings",
            models.BigIntegerField(default=0, help_text="Stored when the deletion began."),
        ),
        migrations.AddField("erasure", "erased", models.BigIntegerField(default=0)),
    ]

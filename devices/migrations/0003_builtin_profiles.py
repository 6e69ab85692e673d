from django.db import migrations


PROFILES = {
    "xyz": ("Three channels, as of an accelerometer.", ("x", "y", "z")),
    "scalar": ("One value, as of a single sensor.", ("value",)),
}


def add(apps, schema_editor):
    profile_model = apps.get_model("devices", "DeviceProfile")
    channel_model = apps.get_model("devices", "Channel")
    for name, (description, channels) in PROFILES.items():
        profile = profile_model.objects.create(name=name, description=description)
        for position, channel in enumerate(channels):
            channel_model.objects.create(profile=profile, position=position, name=channel)


class Migration(migrations.Migration):
    dependencies = [("devices", "0002_readings")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]

from django.db import migrations


SPACES = {1: "global", 2: "blog", 3: "post"}
# Number: name, space.
KINDS = {
    1: ("login", 1),
    2: ("logout", 1),
    3: ("create_post", 2),
    4: ("delete_post", 2),
    5: ("comment", 3),
}


def make(apps, schema_editor):
    alias = schema_editor.connection.alias
    SpaceType = apps.get_model("activity", "SpaceType")
    EventType = apps.get_model("activity", "EventType")
    SpaceType.objects.using(alias).bulk_create(SpaceType(id=id, name=name) for id, name in SPACES.items())
    EventType.objects.using(alias).bulk_create(
        EventType(id=id, name=name, space_id=space) for id, (name, space) in KINDS.items()
    )


class Migration(migrations.Migration):
    dependencies = [("activity", "0001_initial")]

    # The hint tells the router that these are rows of the activity database.
    operations = [
        migrations.RunPython(make, migrations.RunPython.noop, hints={"model_name": "eventtype"}),
    ]

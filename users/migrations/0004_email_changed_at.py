from django.db import migrations, models


class Migration(migrations.Migration):
    # Empty at first: PostgreSQL adds such a column without rewriting the table.
    dependencies = [("users", "0003_invitation")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="email_changed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]

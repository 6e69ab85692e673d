import django.db.models.deletion
import django.db.models.functions.comparison
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0002_questions"),
        ("django_celery_results", "0014_alter_taskresult_status"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Calculation",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("finished", "Finished"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("progress", models.PositiveSmallIntegerField(default=0, help_text="Percent.")),
                ("error", models.TextField(blank=True)),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "sent_at",
                    models.DateTimeField(
                        blank=True, help_text="When it was last handed to the broker.", null=True
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("claimed_by", models.CharField(blank=True, max_length=36)),
                ("name", models.CharField(blank=True, max_length=200)),
                ("kernel", models.CharField(max_length=50)),
                ("kernel_version", models.CharField(max_length=20)),
                ("parameters", models.JSONField()),
                ("seed", models.BigIntegerField()),
                (
                    "libraries",
                    models.JSONField(default=dict, help_text="What computed it, by name and version."),
                ),
                ("row_count", models.PositiveIntegerField(default=0)),
                (
                    "broken",
                    models.JSONField(default=dict, help_text="Rows that break an invariant, by its label."),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "rerun_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="analytics.calculation",
                    ),
                ),
                (
                    "task_result",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="django_celery_results.taskresult",
                    ),
                ),
            ],
            options={
                "ordering": ("-asked_at", "-id"),
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="CalculationRows",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField(help_text="Of the block, from 0.")),
                ("payload", models.TextField()),
                (
                    "calculation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="blocks",
                        to="analytics.calculation",
                    ),
                ),
            ],
            options={
                "ordering": ("calculation", "number"),
            },
        ),
        migrations.AddIndex(
            model_name="calculation",
            index=models.Index(
                models.OrderBy(
                    django.db.models.functions.comparison.Coalesce("started_at", "asked_at"), descending=True
                ),
                models.OrderBy(models.F("id"), descending=True),
                name="calculation_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="calculation",
            index=models.Index(
                models.F("asked_by"),
                models.OrderBy(
                    django.db.models.functions.comparison.Coalesce("started_at", "asked_at"), descending=True
                ),
                name="calculation_of_asker",
            ),
        ),
        migrations.AddIndex(
            model_name="calculation",
            index=models.Index(
                condition=models.Q(("status__in", ("queued", "running"))),
                fields=["status", "asked_at"],
                name="calculation_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="calculation",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["queued", "running", "finished", "failed", "cancelled"])),
                name="calculation_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="calculation",
            constraint=models.CheckConstraint(
                condition=models.Q(("seed__gte", 0)), name="calculation_seed_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="calculationrows",
            constraint=models.UniqueConstraint(
                fields=("calculation", "number"), name="calculation_block_once"
            ),
        ),
    ]

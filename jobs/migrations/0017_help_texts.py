import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    """Only texts that the admin shows change: no database statement."""

    dependencies = [
        ("jobs", "0016_category_index"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="job",
                    name="error_fingerprint",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="the same for failures that are alike",
                        max_length=16,
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="fallback",
                    field=models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="task to submit when this job has failed for good",
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="fallback_due",
                    field=models.BooleanField(
                        db_default=False, default=False, help_text="failed, and the fallback is not submitted yet"
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="grace",
                    field=models.FloatField(
                        blank=True,
                        help_text="seconds to clean up before it is stopped by force; empty: the setting GRACE",
                        null=True,
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="lane",
                    field=models.UUIDField(
                        db_default=uuid.UUID("00000000-0000-0000-0000-000000000000"),
                        default=uuid.UUID("00000000-0000-0000-0000-000000000000"),
                        editable=False,
                        help_text="hash of all facts that admission decides by",
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="rank",
                    field=models.FloatField(
                        help_text="eligible_at in epoch seconds minus its priority's head start; smallest first"
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="release_count",
                    field=models.IntegerField(
                        db_default=0, default=0, help_text="messages in a row that no worker answered"
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="retry_policy",
                    field=models.JSONField(blank=True, help_text="the job's own retry policy", null=True),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="run",
                    field=models.IntegerField(
                        db_default=1, default=1, help_text="1; one more with each retry by a person"
                    ),
                ),
                migrations.AlterField(
                    model_name="job",
                    name="stop_error_type",
                    field=models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="type of the error that a person or another job stopped it with",
                    ),
                ),
                migrations.AlterField(
                    model_name="lease",
                    name="figures",
                    field=models.JSONField(
                        blank=True,
                        db_default=models.Value({}, models.JSONField()),
                        default=dict,
                        help_text="what was pruned last, and what was repaired so far",
                    ),
                ),
                migrations.AlterField(
                    model_name="limit",
                    name="declared",
                    field=models.JSONField(
                        blank=True, editable=False, help_text="what the code declared last", null=True
                    ),
                ),
                migrations.AlterField(
                    model_name="limit",
                    name="partition",
                    field=models.CharField(
                        blank=True, default="", help_text="this partition only; empty: each", max_length=200
                    ),
                ),
                migrations.AlterField(
                    model_name="limit",
                    name="partition_by",
                    field=models.CharField(
                        blank=True,
                        default="",
                        help_text="each partition of this name has the limit for itself",
                        max_length=100,
                    ),
                ),
                migrations.AlterField(
                    model_name="limit",
                    name="task",
                    field=models.CharField(blank=True, default="", help_text="empty: all tasks", max_length=200),
                ),
                migrations.AlterField(
                    model_name="pool",
                    name="max_retries",
                    field=models.IntegerField(blank=True, help_text="for jobs that declare none", null=True),
                ),
                migrations.AlterField(
                    model_name="pool",
                    name="retry_cap",
                    field=models.FloatField(blank=True, help_text="seconds that a retry waits at most", null=True),
                ),
                migrations.AlterField(
                    model_name="pool",
                    name="retry_jitter",
                    field=models.BooleanField(blank=True, help_text="vary the wait at random", null=True),
                ),
                migrations.AlterField(
                    model_name="pool",
                    name="retry_multiplier",
                    field=models.FloatField(
                        blank=True, help_text="each further retry waits so many times longer", null=True
                    ),
                ),
                migrations.AlterField(
                    model_name="worker",
                    name="listens",
                    field=models.BooleanField(
                        db_default=False, default=False, help_text="its feeder is notified of new jobs"
                    ),
                ),
            ]
        )
    ]

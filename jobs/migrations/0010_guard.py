"""How long a job has to clean up, and whether a worker can stop it."""

from django.db import migrations, models

from jobs.migrations._safely import AddFields, LockTimeout


class Migration(migrations.Migration):
    dependencies = [("jobs", "0009_failing")]

    operations = [
        LockTimeout(),
        migrations.AddField(
            model_name="worker",
            name="can_stop",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="its pool has processes, and a job in one can be stopped",
            ),
        ),
        AddFields(
            "job",
            [
                (
                    "grace",
                    models.FloatField(
                        blank=True,
                        help_text="seconds to clean up before it is stopped by force; none: the setting's",
                        null=True,
                    ),
                ),
            ],
        ),
    ]

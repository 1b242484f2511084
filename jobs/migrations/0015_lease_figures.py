"""What the steward has pruned and repaired, where every process can read it: one column of a table with one row."""

from django.db import migrations, models

from jobs.migrations._safely import LockTimeout


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0014_attempt_open"),
    ]
    operations = [
        LockTimeout(),
        migrations.AddField(
            model_name="lease",
            name="figures",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="what was last pruned, and what was repaired so far: jobs.steward.tally",
            ),
        ),
    ]

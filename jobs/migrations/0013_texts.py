"""Texts that no index needs, of any length: see `jobs.models.job._long_text`.

PostgreSQL neither rewrites nor reads the table for that.
"""

from django.db import migrations, models

from jobs.migrations._safely import LockTimeout

TEXTS = ("cancel_requested_by", "error_type", "message", "paused_by", "stage")


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0012_control"),
    ]

    operations = [
        LockTimeout(),
        *(
            migrations.AlterField(
                model_name="job", name=name, field=models.TextField(blank=True, db_default="", default="")
            )
            for name in TEXTS
        ),
    ]

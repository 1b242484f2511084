"""What has failed is found by the category of its error."""

from django.db import migrations, models

from jobs.migrations._safely import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("jobs", "0015_lease_figures"),
    ]
    operations = [
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                condition=models.Q(("error_category", ""), _negated=True),
                fields=["error_category", "-id"],
                name="job_by_error_category",
            ),
        ),
    ]

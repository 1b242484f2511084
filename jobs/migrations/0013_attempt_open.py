"""An attempt keeps the name of its worker whose row is deleted; and on MariaDB what is open is found by that alone.

The reconciliation looks at all that is open, every ten seconds. There, without partial indexes, an index that begins
with the worker would be read from end to end, with every attempt that was ever made.
"""

import django.db.models.deletion
from django.db import migrations, models


def by_end(apps, schema_editor):
    _replace(schema_editor, "finished_at, worker_id")


def by_worker(apps, schema_editor):
    _replace(schema_editor, "worker_id, finished_at")


def _replace(schema_editor, columns):
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute(f"ALTER TABLE jobs_attempt DROP INDEX attempt_open, ADD INDEX attempt_open ({columns})")


class Migration(migrations.Migration):
    atomic = False  # an index is made outside of a transaction there
    dependencies = [
        ("jobs", "0012_control"),
    ]
    operations = [
        migrations.AlterField(
            model_name="attempt",
            name="worker",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="attempts",
                to="jobs.worker",
            ),
        ),
        migrations.RunPython(by_end, by_worker),
    ]

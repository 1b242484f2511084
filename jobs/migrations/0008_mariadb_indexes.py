"""MariaDB has no partial indexes: there, what a condition says becomes a column of the index.

Elsewhere nothing is done. The names are the ones that the other databases have.
"""

from django.db import migrations

INDEXES = {
    "job_candidates": ("jobs_job", "pool, state, lane, `rank`, id"),
    "job_by_partition": ("jobs_job", "task, `partition`, state"),
    "job_due": ("jobs_job", "state, run_after"),
    "job_wake_due": ("jobs_job", "wake_due, id"),
    "attempt_open": ("jobs_attempt", "worker_id, finished_at"),
}
AS_DJANGO_MAKES_THEM = {
    "job_candidates": ("jobs_job", "pool, lane, `rank`, id"),
    "job_by_partition": ("jobs_job", "task, `partition`"),
    "job_due": ("jobs_job", "run_after"),
    "job_wake_due": ("jobs_job", "id"),
    "attempt_open": ("jobs_attempt", "worker_id"),
}
BY_KEY = "CREATE INDEX job_by_key ON jobs_job (`key`(200), id DESC)"  # Django makes none of an expression there


def to_columns(apps, schema_editor):
    if schema_editor.connection.vendor == "mysql":
        _replace(schema_editor, INDEXES)
        schema_editor.execute(BY_KEY)


def back(apps, schema_editor):
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute("DROP INDEX job_by_key ON jobs_job")
        _replace(schema_editor, AS_DJANGO_MAKES_THEM)


def _replace(schema_editor, indexes):
    for name, (table, columns) in indexes.items():
        schema_editor.execute(f"ALTER TABLE {table} DROP INDEX {name}, ADD INDEX {name} ({columns})")


class Migration(migrations.Migration):
    atomic = False  # an index is made outside of a transaction there
    dependencies = [
        ("jobs", "0007_large_tables"),
    ]
    operations = [
        migrations.RunPython(to_columns, back),
    ]

"""MariaDB has no partial indexes: what expires is found by its state, or all that has ever expired would be read."""

from django.db import migrations


def to_columns(apps, schema_editor):
    _replace(schema_editor, "state, expires_at")


def back(apps, schema_editor):
    _replace(schema_editor, "expires_at")


def _replace(schema_editor, columns):
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute(f"ALTER TABLE jobs_job DROP INDEX job_expiring, ADD INDEX job_expiring ({columns})")


class Migration(migrations.Migration):
    atomic = False  # an index is made outside of a transaction there
    dependencies = [
        ("jobs", "0010_guard"),
    ]
    operations = [
        migrations.RunPython(to_columns, back),
    ]

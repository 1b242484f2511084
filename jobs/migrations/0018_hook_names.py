from django.db import migrations, models


class Migration(migrations.Migration):
    """The fields of Hook get plain names. The columns keep theirs: workers of the last release use them."""

    dependencies = [
        ("jobs", "0017_help_texts"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameField("hook", "takes", "claims"),
                migrations.RenameField("hook", "taken_at", "claimed_at"),
                migrations.RenameField("hook", "rings", "requests"),
                migrations.RenameField("hook", "rung_at", "requested_at"),
                migrations.AlterField(
                    "hook", "claims", models.IntegerField(db_column="takes", db_default=0, default=0)
                ),
                migrations.AlterField(
                    "hook", "claimed_at", models.DateTimeField(blank=True, db_column="taken_at", null=True)
                ),
                migrations.AlterField(
                    "hook", "requests", models.IntegerField(db_column="rings", db_default=0, default=0)
                ),
                migrations.AlterField(
                    "hook", "requested_at", models.DateTimeField(blank=True, db_column="rung_at", null=True)
                ),
            ]
        ),
    ]

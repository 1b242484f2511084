from django.db import migrations


class Migration(migrations.Migration):
    """Empty: what it did kept everybody out of a large table for as long as it took. Now 0007 does it."""

    dependencies = [
        ("jobs", "0003_worker_listens"),
    ]

    operations = []

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0004_one_constraint"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="pool",
            options={"permissions": (("pause_pool", "Can pause, drain and resume a pool"),)},
        ),
    ]

"""django-tasks-db, Django's tasks kept in its database. The last finish is the greatest `finished_at` in its table."""

from django.db.models import Max
from django_tasks_db.models import DBTaskResult

from benchmarks.systems.django_site import DjangoSystem
from benchmarks.worker import django_command
from benchmarks.workers import tasks_db_tasks


class TasksDb(DjangoSystem):
    """Jobs are rows, workers look for them once a second when they have nothing to do."""

    # Quiet, because it logs two lines a task otherwise; without the random pause of up to a second before it begins.
    worker_commands = django_command("db_worker", "--verbosity", "0", "--no-startup-delay")

    def submit(self) -> None:
        """Insert one task."""
        tasks_db_tasks.noop.enqueue()

    def finished(self) -> int:
        """Tasks that were successful."""
        return int(DBTaskResult.objects.filter(status="SUCCESSFUL").count())

    def last_finish(self) -> float:
        """Set by the worker just before it writes the row."""
        newest = DBTaskResult.objects.aggregate(newest=Max("finished_at"))["newest"]
        return float(newest.timestamp())

    def clear(self) -> None:
        """Empty the table."""
        super().clear()
        DBTaskResult.objects.all().delete()

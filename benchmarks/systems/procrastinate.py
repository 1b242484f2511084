"""procrastinate with its Django integration. The last finish is the greatest `at` of its `succeeded` events."""

from django.db import connection
from django.db.models import Max
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob

from benchmarks.systems.django_site import DjangoSystem
from benchmarks.worker import django_command
from benchmarks.workers import procrastinate_tasks


class Procrastinate(DjangoSystem):
    """Jobs are rows, workers are woken by NOTIFY; jobs are submitted over Django's own connection."""

    worker_commands = django_command("procrastinate", "worker")
    submits_many = True

    def submit(self) -> None:
        """Insert one job."""
        procrastinate_tasks.noop.defer()

    def enqueue(self, jobs: int) -> None:
        """Insert all of them in one call."""
        procrastinate_tasks.noop.batch_defer(*[{}] * jobs)

    def finished(self) -> int:
        """Jobs that succeeded."""
        return int(ProcrastinateJob.objects.filter(status="succeeded").count())

    def last_finish(self) -> float:
        """Set by a trigger of the finishing statement, which is a transaction of its own."""
        newest = ProcrastinateEvent.objects.filter(type="succeeded").aggregate(newest=Max("at"))["newest"]
        return float(newest.timestamp())

    def clear(self) -> None:
        """Empty the table of jobs with all that refers to it."""
        super().clear()
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE procrastinate_jobs CASCADE")

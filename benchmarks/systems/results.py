"""Celery with django-celery-results. The last finish is the greatest `date_done` in its table."""

from django.db.models import Max
from django_celery_results.models import TaskResult

from benchmarks.systems.django_site import DjangoSystem
from benchmarks.systems.on_celery import CelerySystem
from benchmarks.worker import celery
from benchmarks.workers import results


class Results(CelerySystem, DjangoSystem):
    """One row per job, written by the result backend; the variants differ in their environment only."""

    celery_app = results.app
    worker_commands = celery("benchmarks.workers.results")

    def submit(self) -> None:
        """Publish one message; no row exists until a worker starts the job."""
        results.noop.delay()

    def finished(self) -> int:
        """Rows that say SUCCESS."""
        return TaskResult.objects.filter(status="SUCCESS").count()

    def last_finish(self) -> float:
        """Set by the worker while it writes the row; the commit follows within a millisecond or so."""
        newest = TaskResult.objects.aggregate(newest=Max("date_done"))["newest"]
        return float(newest.timestamp())

    def clear(self) -> None:
        """Empty the queue and the table."""
        super().clear()
        TaskResult.objects.all().delete()

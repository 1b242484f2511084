"""Plain Celery: `delay()` and a worker, nothing recorded. The last finish is the last body's own time."""

from benchmarks.systems.on_celery import CelerySystem
from benchmarks.worker import celery
from benchmarks.workers import raw


class Raw(CelerySystem):
    """What a job costs when nobody keeps a record of it."""

    celery_app = raw.app
    worker_commands = celery("benchmarks.workers.raw")

    def submit(self) -> None:
        """Publish one message."""
        raw.noop.delay()

"""What systems on Celery share: messages that wait in the broker."""

from celery import Celery

from benchmarks.systems.base import System


class CelerySystem(System):
    """A system whose jobs reach the worker through a Celery queue."""

    celery_app: Celery

    def clear(self) -> None:
        """Empty the queue."""
        super().clear()
        self.celery_app.control.purge()

"""Plain Celery with nothing recorded: no result backend, results ignored, no Django."""

from celery import Celery

from benchmarks import bodies
from benchmarks.place import Place
from benchmarks.workers import ready

__all__ = ["app", "noop", "ready"]

app = Celery("raw", broker=Place.from_environ().broker_url)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True

noop = app.task(bodies.noop)

"""The body as a task of Django: a function of this module, which is where the worker looks for it."""

import django

from benchmarks import bodies

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]  # the same names, for an older Django


@task()
def noop() -> None:
    """The common body."""
    bodies.noop()

"""Plain Celery tasks that show whether a worker, its broker and its pool are what the test believes."""

import time

from celery import shared_task

from tests.app import (
    failing,  # noqa: F401  # registers them
    hungry,  # noqa: F401  # registers them
    jobs,  # noqa: F401  # registers them
    ledger,
    limited,  # noqa: F401  # registers them
)


@shared_task(ignore_result=True)
def echo(text: str) -> None:
    ledger.note("echo", text=text)


@shared_task(ignore_result=True)
def linger(seconds: float) -> None:
    """Stay in the body; the ledger tells in which process."""
    ledger.note("begin")
    time.sleep(seconds)
    ledger.note("end")

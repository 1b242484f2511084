"""The work that every system runs: the same functions, wrapped by each system in its own way.

Loaded by workers and submitters. Must not import Django, Celery or the platform.
"""

import time

from benchmarks.place import Place
from benchmarks.stamps import Stamps

_place = Place.from_environ()
_stamps = Stamps(_place.stamps)


def noop() -> None:
    """Do nothing but leave the time."""
    _stamps.mark()


def hold() -> None:
    """Occupy a slot of the worker until the trial releases it, for at most ten minutes."""
    give_up = time.monotonic() + 600
    while not _place.release.exists() and time.monotonic() < give_up:
        time.sleep(0.02)

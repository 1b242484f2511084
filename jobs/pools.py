"""Which pools exist, remembered per process: a submit asks for it every time."""

from __future__ import annotations

import functools
from collections.abc import Callable

from django.db import transaction

from jobs.conf import settings
from jobs.exceptions import UnknownPool
from jobs.models import Pool

_certain: set[str] = set()


def known(name: str, declared: Callable[[], set[str]]) -> str:
    """The name of a pool that exists, or that a task declares and so comes into being; else UnknownPool."""
    if name in _certain:
        return name
    using = settings.DATABASE
    there = set(Pool.objects.using(using).values_list("name", flat=True))
    if name not in there:
        if name not in declared():
            raise UnknownPool(name, there | declared())
        Pool.objects.using(using).get_or_create(name=name)
    # Remembered after the commit: what this transaction has seen may be its own, and be rolled back.
    transaction.on_commit(functools.partial(_certain.update, there), using=using)
    return name


def forget() -> None:
    """Ask the database again at the next submit: the tables may have been emptied."""
    _certain.clear()

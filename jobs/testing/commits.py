"""Inside a test's transaction nothing is ever committed; this runs what would have followed the commits."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connections

logger = logging.getLogger(__name__)


class Commits:
    """The `on_commit` callbacks left since this was made. Outside of a transaction Django has run them itself."""

    def __init__(self) -> None:
        self._before = {one.alias: len(one.run_on_commit) for one in connections.all(initialized_only=True)}

    def run(self) -> None:
        """Run them, with those that they leave; one that is robust and fails is logged, as Django does it."""
        for one in connections.all(initialized_only=True):
            _run(one.run_on_commit, self._before.get(one.alias, 0))


def _run(waiting: list[Any], first: int) -> None:
    while len(waiting) > first:
        _, act, robust = waiting.pop(first)
        try:
            act()
        except Exception:
            if not robust:
                raise
            logger.exception("on_commit callback %r failed", act)

"""What the demo submits. Tags, metadata and priorities are there to be filtered by on the pages."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

from django.db import transaction

from jobcenter.demo import library, mandelbrot, tasks
from jobs import Job, job_manager

OWNER = "demo"
BATCH = "first round"
PICTURES = ("the whole set", "seahorse valley", "a spiral")
CHECKED, LINE_LIMIT = "http", 79  # a package that breaks the rule
WELL_KNOWN = frozenset({"asyncio", "collections", "email", "http", "json", "logging", "pathlib", "typing", "unittest"})


def submit_everything() -> int:
    """Submit the first round, all of it or nothing; returns how many jobs that are."""
    with transaction.atomic():
        _submit_special()
        for place in PICTURES:
            submit_picture(place, BATCH)
        for package in library.packages():
            _submit_index(package)
    return Job.objects.filter(batch_id=BATCH).count()


def submit_picture(place: str, batch: str) -> None:
    """Have a picture drawn, unless that same one is being drawn already."""
    where = mandelbrot.PLACES[place]
    metadata = {"x": where.x, "y": where.y, "span": where.span, "iterations": where.iterations}
    job_manager.run_job(place, tasks.draw_mandelbrot, [place], owner=OWNER, batch_id=batch, metadata=metadata)


def more_pictures() -> Iterator[str]:
    """Places to draw when the first round is over, without end."""
    rest = [place for place in mandelbrot.PLACES if place not in PICTURES]
    return itertools.cycle([*rest, *PICTURES])


def _submit_special() -> None:
    shared: dict[str, Any] = {"owner": OWNER, "batch_id": BATCH}
    job_manager.submit(tasks.count_twin_primes, priority="critical", **shared)
    job_manager.submit(tasks.second_try, priority="high", **shared)
    job_manager.submit(tasks.check_line_length, [CHECKED, LINE_LIMIT], priority="high", **shared)


def _submit_index(package: str) -> None:
    files = library.sources(package)
    size = sum(path.stat().st_size for path in files)
    kind = "package" if len(files) > 1 else "module"
    job_manager.submit(
        tasks.index_package,
        [package],
        priority=_priority(package),
        owner=OWNER,
        batch_id=BATCH,
        project_id=f"python-{sys.version_info.major}.{sys.version_info.minor}",
        tags=["index", kind],
        metadata={"package": package, "files": len(files), "bytes": size},
    )


def _priority(package: str) -> str:
    if package in WELL_KNOWN:
        return "high"
    return "low" if package.startswith("_") else "medium"

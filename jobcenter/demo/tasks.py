"""The demo's jobs: real work on real input, and one each that is retried, fails with a purpose, or waits to be stopped.

Called as plain functions they run without database and broker. What they compute lives beside this module.
"""

from __future__ import annotations

import base64
from dataclasses import astuple
from pathlib import Path
from typing import Any

from jobcenter.demo import library, mandelbrot, primes
from jobs import JobTask, job
from jobs.exceptions import JobFailed, did_you_mean

LONG_LINES_SHOWN = 20


@job(bind=True, name="demo.index_package", operation_type="codemap", tags=["index"])
def index_package(self: JobTask, package: str) -> dict[str, Any]:
    """Count one package of Python's standard library: files, lines, words, functions, and its longest functions."""
    files = _files_of(package)
    figures = library.Figures()
    for number, path in enumerate(files):
        self.job.progress(100 * number / len(files), f"{number} of {len(files)} files", stage=library.shown(path))
        counted = library.count(path)
        self.job.log(f"{library.shown(path)}: {counted.lines} lines, {counted.functions} functions")
        figures += counted
    return {"package": package, **figures.as_data()}


@job(bind=True, name="demo.mandelbrot", operation_type="execution", tags=["picture"])
def draw_mandelbrot(self: JobTask, place: str, *, width: int = 480, height: int = 320) -> dict[str, str]:
    """Draw a part of the Mandelbrot set, row by row; the result is a PNG that the job's page shows."""
    if place not in mandelbrot.PLACES:
        raise JobFailed(f"There is no place {place!r}.{did_you_mean(place, mandelbrot.PLACES)}", category="input")
    where = mandelbrot.PLACES[place]
    rows = []
    for number in range(height):
        self.job.progress(100 * number / height, f"row {number} of {height}", stage="drawing")
        rows.append(mandelbrot.row(where, width, height, number))
    self.job.progress(100, f"{height} rows drawn", stage="packing")
    picture = mandelbrot.png(rows, width, height)
    self.job.log(f"{place}: {width} x {height} points, {len(picture)} bytes")
    return {"type": "image/png", "base64": base64.b64encode(picture).decode("ascii")}


@job(bind=True, name="demo.check_line_length", operation_type="validation", tags=["check"])
def check_line_length(self: JobTask, package: str, limit: int) -> dict[str, int]:
    """Check that no line of a package is longer than `limit`; the failure lists the lines that are."""
    files = _files_of(package)
    found = []
    for number, path in enumerate(files):
        self.job.progress(100 * number / len(files), stage=library.shown(path))
        lines = library.long_lines(path, limit)
        found += [{"file": library.shown(path), "line": line, "length": length} for line, length in lines]
    if found:
        raise JobFailed(
            f"{package} has lines longer than {limit} characters: {len(found)}",
            result={"limit": limit, "count": len(found), "lines": found[:LONG_LINES_SHOWN]},
            category="style",
        )
    return {"limit": limit, "files": len(files)}


@job(bind=True, name="demo.second_try", operation_type="execution", max_retries=2, retry_delay=1, tags=["retry"])
def second_try(self: JobTask) -> dict[str, int]:
    """Fail at the first attempt, as a service that does not answer would make it; succeed at the second."""
    if self.job.attempt == 1:
        self.job.log("no answer", level="warning")
        raise TimeoutError("no answer at the first attempt (the demo does this on purpose)")
    return {"attempt": self.job.attempt}


@job(bind=True, name="demo.twin_primes", operation_type="analysis", tags=["long"])
def count_twin_primes(self: JobTask, limit: int = 100_000_000_000) -> dict[str, int]:
    """Count the twin primes below `limit`. With the default it takes many minutes: made to be paused and cancelled."""
    begin = found = primes.Found(*(self.job.resume_data or (0, 0)))
    for found in primes.twins(limit, begin=begin):
        self.job.progress(
            100 * found.below / limit, f"{found.pairs:,} pairs so far", stage=f"below {found.below / 1e6:,.0f} million"
        )
        self.job.checkpoint(astuple(found))
    return {"below": found.below, "pairs": found.pairs}


def _files_of(package: str) -> list[Path]:
    files = library.sources(package)
    if not files:
        raise JobFailed(
            f"Python's standard library has no source of {package!r} here.{did_you_mean(package, library.packages())}",
            category="input",
        )
    return files

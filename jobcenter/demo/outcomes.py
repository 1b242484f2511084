"""Checks what became of the first round, against what it should have given, and sums it up in a table."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence

from django.urls import reverse
from django.utils import timezone

from jobcenter.demo import library, mandelbrot, tasks
from jobcenter.demo.plan import BATCH, CHECKED, LINE_LIMIT, PICTURES
from jobcenter.demo.visitor import STYLE, Visitor
from jobs import Attempt, Job, JobState

RECOUNTED = ("json", "http", "collections", "argparse", "_collections_abc")
HEADINGS = ("task", "jobs", "completed", "failed", "cancelled", "retries", "run seconds")


class WrongOutcome(Exception):  # noqa: N818 - says what was found
    """Something did not come out as it must; the text says what."""


def check_jobs() -> list[str]:
    """What was found right, in sentences; WrongOutcome at the first thing that is not."""
    jobs = list(Job.objects.filter(batch_id=BATCH))
    by_task = {name: [job for job in jobs if job.task == name] for name in {job.task for job in jobs}}
    return [
        _check_indexes(by_task[tasks.index_package.name]),
        _check_pictures(by_task[tasks.draw_mandelbrot.name]),
        _check_retry(*by_task[tasks.second_try.name]),
        _check_failure(*by_task[tasks.check_line_length.name]),
        _check_cancelled(*by_task[tasks.count_twin_primes.name]),
    ]


def check_pages(address: str, user: str, password: str) -> str:
    """Read pages as a browser does; PageWrong where one is not as it must be."""
    visitor = Visitor(address)
    if "{" not in visitor.get(STYLE):
        raise WrongOutcome(f"{STYLE} holds no style")
    visitor.sign_in(user, password)
    pictures = Job.objects.filter(batch_id=BATCH, task=tasks.draw_mandelbrot.name)
    here = f"{reverse('jobs:job-list')}?task={tasks.draw_mandelbrot.name}"
    listed = visitor.get(here)
    for job in pictures:
        _must(reverse("jobs:job-detail", args=[job.id]) in listed, f"{here} does not list job {job.id}")
    image = reverse("jobs:job-image", args=[pictures[0].id])
    _must(visitor.fetch(image) == base64.b64decode(pictures[0].result["base64"]), f"{image} is not the job's picture")
    return f"web: sign-in, style sheet, admin, the list of jobs and a picture in it answer at {address}"


def table() -> list[str]:
    """One line per task and one for the sum."""
    jobs = list(Job.objects.filter(batch_id=BATCH).order_by("task"))
    seconds = _run_seconds()
    names = sorted({job.task for job in jobs})
    rows = [_row(name, [job for job in jobs if job.task == name], seconds[name]) for name in names]
    return _aligned([HEADINGS, *rows, _row("together", jobs, seconds.total())])


def _check_indexes(jobs: Sequence[Job]) -> str:
    expected, got = library.packages(), sorted(job.args[0] for job in jobs)
    _must(got == expected, f"{len(expected)} packages should be indexed, but {len(got)} were submitted")
    for job in jobs:
        _must(job.state == JobState.COMPLETED, f"index of {job.args[0]}: {job.state}: {job.error_message}")
    results = {job.args[0]: job.result for job in jobs}
    recounted = [package for package in RECOUNTED if package in results]
    for package in recounted:
        here = {"package": package, **library.count_package(package).as_data()}
        _must(results[package] == here, f"index of {package}: {results[package]}, but counted here: {here}")
    lines, files = (sum(result[figure] for result in results.values()) for figure in ("lines", "files"))
    return f"index: {len(jobs)} packages, {files:,} files, {lines:,} lines; {', '.join(recounted)} recounted: the same"


def _check_pictures(jobs: Sequence[Job]) -> str:
    _must({job.key for job in jobs} == set(PICTURES), f"pictures of {PICTURES} expected, not {[j.key for j in jobs]}")
    for job in jobs:
        _must(job.state == JobState.COMPLETED, f"picture of {job.key}: {job.state}: {job.error_message}")
        _must(job.result["type"] == "image/png", f"picture of {job.key} is {job.result['type']}")
        width, height, colours = _measure(job)
        _must((width, height) == (480, 320), f"picture of {job.key} measures {width} x {height}")
        _must(colours > 100, f"picture of {job.key} has only {colours} colours")
    return f"pictures: {len(jobs)} PNG of 480 x 320 decoded"


def _measure(job: Job) -> tuple[int, int, int]:
    try:
        return mandelbrot.measure(base64.b64decode(job.result["base64"]))
    except ValueError as error:
        raise WrongOutcome(f"picture of {job.key}: {error}") from error


def _check_retry(job: Job) -> str:
    outcomes = list(job.attempts.order_by("number").values_list("outcome", flat=True))
    _must(
        job.state == JobState.COMPLETED and job.retry_count == 1 and job.result == {"attempt": len(outcomes)},
        f"second try: {job.state} after {job.retry_count} retries, attempts {outcomes}",
    )
    return f"retry: {job.task} failed once ({job.errors[0]['type']}) and then completed"


def _check_failure(job: Job) -> str:
    expected = sum(len(library.long_lines(path, LINE_LIMIT)) for path in library.sources(CHECKED))
    _must(
        job.state == JobState.FAILED and job.error_category == "style" and (job.result or {}).get("count") == expected,
        f"line length: {job.state}, category {job.error_category!r}, result {job.result}; {expected} lines expected",
    )
    return f"failure: {job.task} failed as it should, category {job.error_category}: {job.error_message}"


def _check_cancelled(job: Job) -> str:
    _must(
        job.state == JobState.CANCELLED and 0 < job.progress < 100,
        f"twin primes: {job.state} at {job.progress} %: {job.error_message}",
    )
    assert job.finished_at is not None  # noqa: S101 - a final state
    seconds = (job.finished_at - job.cancel_requested_at).total_seconds()
    return f"cancel: {job.task} stopped {seconds:.1f} s after the request, {job.message}"


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongOutcome(otherwise)


def _run_seconds() -> Counter[str]:
    """Seconds that bodies ran, by task, all attempts together."""
    seconds: Counter[str] = Counter()
    attempts = Attempt.objects.filter(job__batch_id=BATCH).values_list("job__task", "started_at", "finished_at")
    for task, started, finished in attempts:
        seconds[task] += ((finished or timezone.now()) - started).total_seconds()  # type: ignore[assignment]
    return seconds


def _row(name: str, jobs: Sequence[Job], seconds: float) -> tuple[str, ...]:
    states = Counter(job.state for job in jobs)
    ended = (str(states[state]) for state in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED))
    return (name, str(len(jobs)), *ended, str(sum(job.retry_count for job in jobs)), f"{seconds:.1f}")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines: words to the left, numbers to the right, the first and the last row set apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *numbers = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *numbers]))
    rule = "  ".join("-" * width for width in widths)
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]

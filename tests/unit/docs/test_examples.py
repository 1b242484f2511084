"""Every file of `examples/` runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from jobs import job, job_manager
from jobs.signals import job_transitioned
from jobs.testing.plugin import InlineJobs

EXAMPLES = Path(__file__).parents[3] / "examples"


def run(name: str) -> dict[str, Any]:
    """The names that the file has defined."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=f"examples.{name}")


def test_run_by_key(jobs_inline: InlineJobs) -> None:
    names = run("run_by_key")
    jobs_inline.drain()
    assert job_manager.get_job_results(names["first"].job.id) == "hello …"
    assert job_manager.get_job_results(names["lazy"].job.id) == "the prompt of page-2 …"
    assert job_manager.run_job("page-1", "examples.simple_completion", ["hello", []]).created  # it has ended


def test_not_there_and_failed(jobs_inline: InlineJobs) -> None:
    run("not_there_and_failed")["test_edges"](jobs_inline)


@pytest.mark.django_db(transaction=True)
def test_lifecycle_events(jobs_inline: InlineJobs, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("lifecycle_events")
    try:
        row = job_manager.submit(nothing)
        jobs_inline.drain()
    finally:
        job_transitioned.disconnect(names["on_transition"])
    ways = ["(new) → pending", "pending → queued", "queued → running", "running → completed"]
    assert capsys.readouterr().out.splitlines() == [f"{row.id} {way}" for way in ways]


def test_every_example_is_run_and_listed() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {f"test_{name}" for name in names} <= set(globals())
    assert all(f"`{name}.py`" in (EXAMPLES / "README.md").read_text() for name in names)


@job(name="examples.nothing")
def nothing() -> None: ...

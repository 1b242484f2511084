"""`from jobs import …`: lazy, complete, and typed through to the caller's own key, state and action."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from mypy import api as mypy

import jobs

TYPED = """
from typing import Literal, TypedDict
from jobs import JobManager, job, job_manager

class State(TypedDict):
    type: Literal["idle", "streaming"]

class Action(TypedDict):
    type: Literal["regenerate"]

@job
def work(number: int) -> int:
    return number

completions = JobManager[str, State, Action]("completions")
answer = completions.run_job("page-1", work, [1])
reveal_type(answer.type)
reveal_type(answer.job)
reveal_type(answer.created)
running = completions.get_running_job("page-1")
reveal_type(running)
assert running is not None
reveal_type(running.state)
reveal_type(running.wait(timeout=1))
reveal_type(completions.list_jobs(state="failed"))
reveal_type(job_manager.submit(work, [1]))
reveal_type(work.delay(1))

async def view() -> None:
    reveal_type(await completions.arun_job("page-1", work, [1]))
    reveal_type(await completions.aget_running_job("page-1"))

completions.run_job(5, work)                  # refused
completions.get_running_job(("page", 1))      # refused
job_manager.cancel_job(5)                     # refused
"""


def test_every_name_is_where_it_says() -> None:
    assert list(jobs.__all__) == sorted(jobs.__all__)
    for name in jobs.__all__:
        assert getattr(jobs, name) is getattr(import_module(jobs._HOMES[name]), name)
    assert set(jobs.__all__) == set(jobs._HOMES)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="'jobs' has no attribute 'jbo'"):
        jobs.jbo  # noqa: B018


def test_importing_the_package_touches_neither_django_nor_celery() -> None:
    code = (
        "import sys, jobs, jobs.testing.plugin; print([name for name in ('django', 'celery') if name in sys.modules])"
    )
    words = [sys.executable, "-c", code]
    ran = subprocess.run(words, cwd=Path(jobs.__file__).parent.parent, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_public_names_say_what_they_are_for() -> None:
    for name in jobs.__all__:
        value = getattr(jobs, name)
        assert (value.__doc__ or "").strip(), name
        for member, each in inspect.getmembers(value, inspect.isfunction):
            if not member.startswith("_") and each.__module__.startswith("jobs."):
                assert (each.__doc__ or "").strip(), f"{name}.{member}"


def test_the_types_reach_the_caller(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(TYPED)
    cache = pytestconfig.rootpath / ".mypy_cache" / "snippets"
    said, wrong, _ = mypy.run(
        ["--config-file=", f"--cache-dir={cache}", "--strict", "--follow-imports=silent", str(snippet)]
    )
    assert wrong == ""
    revealed = [line.split('Revealed type is "')[1].rstrip('"') for line in said.splitlines() if "Revealed" in line]
    state = "TypedDict(snippet.State, {'type': Literal['idle'] | Literal['streaming']})"
    handle = f"jobs.client.handles.JobHandle[{state}, TypedDict(snippet.Action, {{'type': Literal['regenerate']}})]"
    assert revealed == [
        "Literal['JOB_CREATED'] | Literal['JOB_ALREADY_RUNNING']",
        "jobs.models.job.Job",
        "bool",
        f"{handle} | None",
        state,
        "jobs.models.job.Job",
        "list[jobs.models.job.Job]",
        "jobs.models.job.Job",
        "jobs.results.JobResult",
        "jobs.client.manager.submissions.RunAnswer",
        f"{handle} | None",
    ]
    refused = [line.split(":")[1] for line in said.splitlines() if ": error:" in line]
    lines = [str(number) for number, line in enumerate(TYPED.splitlines(), 1) if line.endswith("# refused")]
    assert refused == lines, said

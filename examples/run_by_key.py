"""Run by key, safely repeated: however often it is asked for, a page has one completion at a time."""

from typing import Any

from jobs import job, job_manager


@job(name="examples.simple_completion")
def simple_completion(prompt: str, messages: list[Any]) -> str:
    return f"{prompt} …"


def load_prompt(page: str) -> str:
    """Stands for something slow."""
    return f"the prompt of {page}"


first = job_manager.run_job("page-1", simple_completion, ["hello", []])
again = job_manager.run_job("page-1", simple_completion, ["hello", []])
assert first.type == "JOB_CREATED" and first.created
assert again.type == "JOB_ALREADY_RUNNING" and again.job.id == first.job.id

# A factory instead of a job: the prompt is loaded only if the page has no unfinished job.
lazy = job_manager.run_job("page-2", lambda: simple_completion.s(load_prompt("page-2"), []))
assert lazy.created and lazy.job.args == ["the prompt of page-2", []]

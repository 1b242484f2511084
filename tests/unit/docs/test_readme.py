"""What the README says a program prints is what it prints."""

import re
from pathlib import Path

import pytest

from jobs import job, job_manager
from tests.app import stages

README = Path(__file__).resolve().parents[3] / "README.md"


@job(
    name="demo.render",
    max_concurrent=4,
    partition_by="customer",
    rate="10/m burst 5",
    memory_mb=512,
    timeout=300,
)
def render(scene: str, *, customer: str) -> None: ...


@pytest.mark.django_db
def test_why_prints_the_sentence_of_the_readme() -> None:
    stages.start_worker(slots=8)
    for _ in range(4):
        stages.claim(job_manager.submit(render, ["castle"], {"customer": "acme"}))
    row = job_manager.submit(render, ["castle"], {"customer": "acme"}, priority="high")
    printed = re.search(r"print\(job_manager\.why\(row\.id\)\.sentence\)\n# (.+)", README.read_text())
    assert printed
    assert printed[1] == job_manager.why(row.id).sentence

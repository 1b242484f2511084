"""Finding and counting among millions: by an index, or among a bounded number of rows."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import job, job_manager
from jobs.models import Job
from jobs.monitoring import counting, search
from jobs.monitoring.counting import Bounded
from jobs.states import JobState
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="search.nothing")
def nothing() -> None: ...


@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (lambda: search.with_key_text(Job.objects.all(), "castle").newest(), "job_by_key"),
        (lambda: search.with_key_text(Job.objects.all(), "x" * 300).newest(), "job_by_key"),
        (lambda: search.with_key_text(Job.objects.filter(state="failed"), "castle").newest(), "job_by_key"),
        (lambda: Job.objects.filter(external_id="x").exclude(external_id="").newest(), "job_by_external_id"),
        (lambda: Job.objects.filter(state="failed").newest(), "job_by_state"),
        (lambda: Job.objects.filter(task="x").newest(), "job_by_task"),
        (lambda: Job.objects.all().of_category("timeout").newest(), "job_by_error_category"),
        (lambda: Job.objects.all().alike("0" * 16).newest(), "job_by_fingerprint"),
    ],
)
def test_a_lookup_goes_by_its_index(rows: Any, index: str) -> None:
    plan = rows()[:50].explain()
    assert f"INDEX {index}" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("key", ["", "castle", "x" * 200, "x" * 201, "ключ" * 250, "a'b\"%_\\"])
def test_a_key_is_found_by_its_whole_text(key: str) -> None:
    row = job_manager.run_job(key, nothing).job
    job_manager.run_job(f"{key[:-1]}y", nothing)
    assert list(search.with_key_text(Job.objects.all(), key)) == [row]


def test_a_key_of_another_type_or_manager_is_found_by_its_text() -> None:
    rows = {job_manager.run_job(7, nothing).job, job_manager.run_job("7", nothing).job}
    assert set(search.with_key_text(Job.objects.all(), "7")) == rows


def test_a_word_is_an_id_a_key_or_an_external_id() -> None:
    keyed, external = job_manager.run_job("word", nothing).job, job_manager.submit(nothing, external_id="word")
    job_manager.submit(nothing)
    assert set(search.matching(Job.objects.all(), "word")) == {keyed, external}
    assert list(search.matching(Job.objects.all(), f"{{{keyed.id}}}")) == [keyed]
    assert list(search.matching(Job.objects.filter(key=None), str(keyed.id))) == []


def test_a_window_holds_the_newest() -> None:
    rows = job_manager.submit_many(nothing, [((), {})] * 5)
    assert set(search.within_newest(Job.objects.all(), 2)) == set(rows[3:])
    assert set(search.within_newest(Job.objects.all(), 5)) == set(rows)


def test_counts_everywhere_and_within_agree_below_the_ceiling() -> None:
    for state in JobState:
        stages.put(job_manager.submit(nothing), state)
    everywhere = counting.everywhere()
    assert everywhere == counting.within(Job.objects.all()) == dict.fromkeys(map(str, JobState), Bounded(1))
    assert counting.total(everywhere) == Bounded(9)
    assert counting.within(Job.objects.none()) == dict.fromkeys(map(str, JobState), Bounded(0))


def test_counts_beyond_the_ceiling_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CEILING", 3)
    job_manager.submit_many(nothing, [((), {})] * 4)
    stages.put(job_manager.submit(nothing), "failed")
    assert counting.everywhere()["pending"] == Bounded(3, more=True)
    within = counting.within(Job.objects.all())
    assert (within["failed"], within["pending"], within["paused"]) == (Bounded(1, True), Bounded(3, True), Bounded(0))
    assert counting.total(within) == Bounded(3, more=True)
    assert str(Bounded(12_345)) == "12,345"

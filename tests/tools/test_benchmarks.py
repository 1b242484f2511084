"""The arithmetic and the tables of the benchmark. What it measures is proved by running it."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.figures import BOUNDS, Goal, Trial, drain, ratio, spread, submit_many
from benchmarks.report import BEGIN, END, MarkerError, render, write_between
from benchmarks.rounds import estimate
from benchmarks.systems.catalog import BY_NAME, ENTRIES

pytestmark = pytest.mark.unit


def trial(system: str, number: int, per_second: float, error: str = "") -> Trial:
    return Trial(system, number, 1, 100, drain_per_s=per_second, idle_ms={"p50": 4.0}, error=error)


def test_ratio_is_taken_within_a_round() -> None:
    trials = [trial("ours", 1, 300), trial("results", 1, 100), trial("ours", 2, 100), trial("results", 2, 50)]
    found = ratio(trials, BOUNDS[0])
    assert found is not None
    assert (found.median, found.low, found.high) == (2.5, 2.0, 3.0)


def test_failed_trial_counts_for_nothing() -> None:
    trials = [trial("ours", 1, 300), trial("results", 1, 0, error="it broke"), trial("results", 2, 80)]
    assert ratio(trials, BOUNDS[0]) is None
    found = spread(trials, "results", drain)
    assert found is not None
    assert found.median == 80
    assert "Failed in round 1: results: it broke" in render({}, trials)


def test_only_a_call_for_many_counts_as_submitting_many() -> None:
    bound = next(bound for bound in BOUNDS if bound.of_ours is submit_many)
    many = [
        replace(trial("ours", 1, 300), enqueue_per_s=9000),
        replace(trial("procrastinate", 1, 150), enqueue_per_s=6000),
    ]
    found = ratio(many, bound)
    assert found is not None
    assert found.median == 1.5
    assert ratio([many[0], trial("procrastinate", 1, 150)], bound) is None


def test_every_bound_names_a_system_that_is_measured() -> None:
    assert {bound.peer for bound in BOUNDS} <= set(BY_NAME)
    by_default = {entry.name for entry in ENTRIES if entry.measured != "named"}
    assert {bound.peer for bound in BOUNDS if bound.goal} <= by_default


@pytest.mark.parametrize(
    ("value", "verdict"), [(2.9, "not reached"), (3.0, "reached"), (5.9, "reached"), (6.0, "aim met")]
)
def test_verdict_where_more_is_better(value: float, verdict: str) -> None:
    assert Goal(3, 6).verdict(value) == verdict


@pytest.mark.parametrize(
    ("value", "verdict"), [(2.1, "not reached"), (2.0, "reached"), (1.5, "aim met"), (0.9, "aim met")]
)
def test_verdict_where_less_is_better(value: float, verdict: str) -> None:
    assert Goal(2, 1.5, at_most=True).verdict(value) == verdict


def test_tables_name_what_was_not_measured() -> None:
    text = render({"python": "3"}, [trial("raw", 1, 500)])
    assert "| Celery, nothing recorded | 500" in text
    assert "not measured" in text


def test_documents_keep_what_stands_around_the_tables(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between(document, BEGIN, END, "new")
    write_between(document, BEGIN, END, "newer")
    assert document.read_text() == f"before\n{BEGIN}\n\nnewer\n{END}\nafter\n"


def test_document_without_place_for_tables_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("no place")
    with pytest.raises(MarkerError, match="must have the lines"):
        write_between(document, BEGIN, END, "new")
    assert document.read_text() == "no place"


def test_the_real_document_has_its_place() -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert text.index(BEGIN) < text.index(END)


def test_the_run_that_the_document_calls_a_quarter_of_an_hour_is_estimated_so() -> None:
    systems = sum(entry.measured != "named" for entry in ENTRIES)
    assert 8 * 60 < estimate(2 * systems, jobs=2000, probes=200) < 15 * 60

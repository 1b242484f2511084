"""The table of edges, and every edge tried from every state: what may move moves, with its event; all else stays."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from jobs import JobState, job, job_manager, states
from jobs.models import Job, JobEvent, transitions
from jobs.states import CHOICES, EDGES, FINAL, IN_FLIGHT, OUTCOMES, UNFINISHED, Edge
from tests.app import stages

MOVES = [edge for edge in EDGES.values() if edge.sources]


@job(name="states.nothing")
def nothing() -> None: ...


@pytest.mark.django_db
@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("edge", MOVES, ids=lambda edge: edge.name)
def test_an_edge_moves_a_job_if_and_only_if_it_stands_at_a_source(edge: Edge, state: JobState) -> None:
    for target in edge.targets:
        before = _job_in(state)
        moved = transitions.move(edge.name, "id = %s", [stages.key(before)], to=_to(edge, target), actor="me")
        if state in edge.sources:
            _assert_moved(before, edge, target, moved)
        else:
            assert moved == []
            assert _columns(stages.fresh(before)) == _columns(before)
            assert JobEvent.objects.filter(job=before, name=edge.name, actor="me").count() == 0


def _job_in(state: JobState) -> Job:
    row = job_manager.submit(nothing)
    if state == JobState.RUNNING:
        return stages.fresh(Job(pk=stages.claim(row).row["id"]))
    return stages.put(row, state)


def _to(edge: Edge, target: JobState) -> str | None:
    return f"'{target}'" if len(edge.targets) > 1 else None


def _assert_moved(before: Job, edge: Edge, target: JobState, moved: list[transitions.Moved]) -> None:
    (one,) = moved
    after = stages.fresh(before)
    assert (one.id, one.from_state, one.to_state, one.actor) == (before.id, before.state, target, "me")
    assert (after.state, after.event_seq) == (target, before.event_seq + 1)
    event = JobEvent.objects.get(job=before, seq=after.event_seq)
    assert (event.name, event.from_state, event.to_state, event.actor) == (edge.name, before.state, target, "me")
    assert after.updated_at == one.at <= event.at
    assert (after.finished_at is not None) == (target in FINAL)
    for attempt in before.attempts.all():
        assert attempt.outcome == (edge.outcome or "")
        assert (attempt.finished_at is not None) == (edge.outcome is not None)


def _columns(row: Job) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in Job._meta.concrete_fields}


@pytest.mark.django_db
@pytest.mark.parametrize("state", JobState)
def test_check_constraints_refuse_a_row_that_contradicts_its_state(state: JobState) -> None:
    row = _job_in(state)
    if state in FINAL:
        _assert_refused(row, finished_at=None)
        _assert_refused(row, active_key="taken")
    else:
        _assert_refused(row, finished_at=row.created_at)
    if state in IN_FLIGHT:
        _assert_refused(row, attempt_id=None)


def _assert_refused(row: Job, **columns: object) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=row.pk).update(**columns)


@pytest.mark.django_db
def test_a_state_that_does_not_exist_is_refused() -> None:
    _assert_refused(_job_in(JobState.PENDING), state="lost")


def test_final_states_are_left_by_requeue_only() -> None:
    assert {edge.name for edge in MOVES if FINAL & set(edge.sources)} == {"requeue"}
    assert states.EDGES["requeue"].sources == (JobState.FAILED, JobState.CANCELLED)


def test_every_state_is_reached_and_every_unfinished_one_left() -> None:
    assert {target for edge in EDGES.values() for target in edge.targets} == set(JobState)
    assert {source for edge in EDGES.values() for source in edge.sources} >= set(UNFINISHED)


def test_every_unfinished_job_can_be_cancelled_and_fail() -> None:
    assert set(EDGES["cancel"].sources) == set(EDGES["fail"].sources) == set(UNFINISHED)


def test_what_leaves_running_names_the_outcome_of_the_attempt() -> None:
    leaving = {edge.name for edge in MOVES if JobState.RUNNING in edge.sources}
    assert leaving == {edge.name for edge in MOVES if edge.outcome}
    assert set(OUTCOMES) == {
        "completed",
        "failed",
        "retried",
        "snoozed",
        "interrupted",
        "lost",
        "paused",
        "cancelled",
    }


def test_only_a_claim_begins_to_run() -> None:
    assert [edge.name for edge in MOVES if JobState.RUNNING in edge.targets] == ["claim"]
    assert [edge.name for edge in MOVES if JobState.QUEUED in edge.targets] == ["admit"]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("scheduled", "pending"),
        ("blocked", "pending"),
        ("pending", "pending"),
        ("queued", "pending"),
        ("running", "running"),
        ("paused", "paused"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
    ],
)
def test_the_coarse_word(state: str, word: str) -> None:
    assert states.status(state) == word
    assert states.is_final(state) == (word in {"completed", "failed", "cancelled"})


def test_an_edge_with_several_targets_has_no_single_one() -> None:
    assert EDGES["claim"].target == JobState.RUNNING
    with pytest.raises(ValueError, match="unpack"):
        EDGES["resume"].target  # noqa: B018


def test_choices_meanings_and_diagram_follow_the_table() -> None:
    assert [value for value, _ in CHOICES] == list(JobState) == list(states.MEANINGS)
    lines = states.diagram().splitlines()
    arrows = sum(len(edge.sources or (1,)) * len(edge.targets) for edge in EDGES.values())
    assert len(lines) == 1 + arrows + len(FINAL)
    assert "    queued --> running: claim" in lines
    assert "    [*] --> pending: create" in lines

"""What `list_jobs` may be asked, and what it answers to nonsense."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from jobs import JobManager, job_manager
from jobs.exceptions import InvalidOption, InvalidPayload, UnknownFilter
from jobs.models import Job

pytestmark = pytest.mark.django_db

NONSENSE: list[dict[str, Any]] = [
    {"created_at__gte": "garbage"},
    {"id": "xyz"},
    {"progress__gt": "x"},
    {"task__in": 5},
    {"key__isnull": "x"},
    {"task": "a\0b"},
    {"owner__startswith": "\ud800"},
    {"metadata__a__in": 5},
    {"metadata__a": b"x"},
    {"metadata__a": "\0"},
    {"created_at__": 1},
    {"created_at__year": 2030},
    {"args": []},
    {"tsak": "x"},
    {"status": "bogus"},
    {"order": "--id"},
    {"order": "nonsense"},
]


@pytest.fixture
def rows() -> list[Job]:
    return [job_manager.submit("filters.nobody", metadata={"n": n}, priority="high") for n in range(3)]


@pytest.mark.parametrize("asked", NONSENSE, ids=repr)
def test_nonsense_is_refused_before_the_database_sees_it(asked: dict[str, Any], rows: list[Job]) -> None:
    with pytest.raises((UnknownFilter, InvalidPayload)):
        job_manager.list_jobs(**asked)


@pytest.mark.parametrize("limit", [-1, 10**30])
def test_an_impossible_limit_is_refused(limit: int) -> None:
    with pytest.raises(InvalidOption, match="limit"):
        job_manager.list_jobs(limit=limit)


def test_what_may_be_asked(rows: list[Job]) -> None:
    first, second, third = rows

    def ids(**asked: Any) -> list[Any]:
        return [row.id for row in job_manager.list_jobs(**asked)]

    assert ids() == [third.id, second.id, first.id]
    assert ids(metadata__n=1) == [second.id]
    assert ids(metadata__n__in=[0, 2], order="id") == [first.id, third.id]
    assert ids(priority="HIGH", status="pending", limit=1) == [third.id]
    assert ids(id=first.id, created_at__gte=first.created_at) == [first.id]
    assert ids(id__in={first.id, uuid4()}, owner="") == [first.id]
    assert ids(state="running") == ids(limit=0) == []


@pytest.mark.parametrize("name", ["x" * 101, "a\0b", "\ud800"])
def test_a_managers_name_can_be_stored(name: str) -> None:
    with pytest.raises(InvalidOption, match="name"):
        JobManager(name)

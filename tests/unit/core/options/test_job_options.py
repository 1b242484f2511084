"""What may be declared and said at submit: every option with what it takes and what it refuses."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from jobs.core.options.job_options import JobOptions, task_name
from jobs.exceptions import InvalidOption

WORDS = ("external_id", "project_id", "session_id", "batch_id", "owner")
GOOD: dict[str, list[Any]] = {
    "pool": [None, "gpu"],
    "priority": ["low", "medium", "high", "critical", "HIGH", "Medium"],
    "max_retries": [None, 0, 3, 10_000],
    "retry_delay": [None, 0, 0.5, 86_400],
    "operation_type": ["", "decomposition", "execution", "context_enrichment"],
    **{name: ["", "TSK-001", "ä" * 200] for name in WORDS},
    "estimated_duration": [None, 0, 300, 0.1],
    "tags": [[], ["a", "b"], ("a",)],
    "metadata": [{}, {"customer": "acme"}],
    "run_after": [None, 0, -5, 60.5, timedelta(hours=-1), timedelta(days=1), datetime(2026, 1, 1, tzinfo=UTC)],
    "start": [True, False],
    "max_concurrent": [None, 1, 10_000],
    "partition_by": [None, "customer", str],
    "rate": [None, "10/m", "0.5/s", "100/10m burst 5"],
    "conflict": [None, "wait", "refuse", "cancel_running", "latest"],
    "access": [""],
    "memory_mb": [None, 0, 512],
    "disk_mb": [None, 0, 512],
    "cpu_weight": [None, 0, 0.5, 2],
    "resources": [{}, {"gpu": 1}, {"licence:x": 0.5}],
    "timeout": [None, 0.5, 300],
    "grace": [None, 0, 0.5, 300],
    "retry_multiplier": [None, 1, 2.5, 1000],
    "retry_cap": [None, 0, 60],
    "retry_jitter": [None, True, False],
    "retry_deadline": [None, 0.5, 3600],
    "retry_on": [(), ("ValueError", "shop.errors.OutOfStock", "timeout")],
    "never_retry": [(), ("OSError", "memory")],
    "fallback": ["", "demo.cheap_render"],
    "expires": [None, 60, timedelta(hours=1), datetime(2030, 1, 1, tzinfo=UTC)],
    "at_most_once": [True, False],
}
BAD_WORDS: list[Any] = [None, 5, "x" * 201, "a\0b", "\udfff", ["a"]]
BAD_SECONDS: list[Any] = ["5", True, -1, math.nan, math.inf, timedelta(1), 10**9]
TOO_FAR = [timedelta.min, 1e12, -1e12, 10**400, datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)]
BAD: dict[str, list[Any]] = {
    "pool": [5, "a\0b", ["gpu"]],
    "priority": ["urgent", "", None, 5],
    "max_retries": [-1, 10_001, 1.5, "3", True],
    "retry_delay": BAD_SECONDS,
    "operation_type": ["unheard of", None, 5],
    **dict.fromkeys(WORDS, BAD_WORDS),
    "estimated_duration": BAD_SECONDS,
    "tags": ["a", None, {"a"}, [5], ["a\0b"], ["x" * 201]],
    "metadata": [None, [], "text", [("a", 1)]],
    "run_after": ["tomorrow", datetime(2026, 1, 1), math.nan, math.inf, True, timedelta(days=20_000), *TOO_FAR],  # noqa: DTZ001
    "start": [None, 0, 1, "yes"],
    "max_concurrent": [0, -1, 1.5, "3", True, 2**31],
    "partition_by": ["", 5, "x" * 101, "a\0b"],
    "rate": ["", "10", "0/m", "10/y", "10/0s", "10/m burst 0", "-1/s", 10, "1/s; DROP"],
    "conflict": ["", "replace", 5],
    "access": [None, "read", "shared"],
    "memory_mb": [-1, "512", True, math.nan, math.inf, 2**31, 1.5],
    "disk_mb": [-1, "512", True, math.nan, math.inf, 2**31, 1.5],
    "cpu_weight": [-1, "2", True, math.nan, math.inf, 2**31],
    "resources": [None, [], {"gpu": -1}, {"gpu": "1"}, {"gpu": None}, {"": 1}, {"memory_mb": 1}, {5: 1}],
    "timeout": [0, *BAD_SECONDS],
    "grace": BAD_SECONDS,
    "retry_multiplier": [0, 0.5, 1001, "2", True, math.nan],
    "retry_cap": BAD_SECONDS,
    "retry_jitter": [0, 1, "yes"],
    "retry_deadline": [0, *BAD_SECONDS],
    "retry_on": ["ValueError", None, 5, [5], ["ValueEror"], ["shop..x"], [int], ["x" * 201], ["a b.c"], [""]],
    "never_retry": [ValueError, ["transiant"], [None]],
    "fallback": [5, "a\0b", "x" * 201, ["demo.render"]],
    "expires": ["tomorrow", datetime(2026, 1, 1), True, math.nan, *TOO_FAR],  # noqa: DTZ001
    "at_most_once": [None, 0, 1, "yes"],
}


def _each(values: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, value, id=f"{name}={value!r:.30}") for name in values for value in values[name]]


def test_every_option_is_tried() -> None:
    assert set(GOOD) == set(BAD) == {field.name for field in fields(JobOptions)}


@pytest.mark.parametrize(("name", "value"), _each(GOOD))
def test_what_an_option_takes(name: str, value: Any) -> None:
    taken = getattr(JobOptions().but({name: value}), name)
    expected = value.lower() if name == "priority" else tuple(value) if name == "tags" else value
    assert taken == expected


@pytest.mark.parametrize(("name", "value"), _each(BAD))
def test_what_an_option_refuses(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=name) as caught:
        JobOptions().but({name: value})
    assert caught.value.option == name
    assert len(str(caught.value)) < 400


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidOption, match="Did you mean 'max_retries'") as caught:
        JobOptions().but({"max_retry": 3})
    assert caught.value.option == "max_retry"


def test_nothing_is_changed_in_place() -> None:
    declared = JobOptions().but({"priority": "high", "tags": ["a"]})
    assert declared.but({}) is declared
    assert declared.but({"priority": "low"}) == JobOptions(priority="low", tags=("a",))
    assert declared.priority == "high"


def test_a_reader_or_a_writer_says_of_what() -> None:
    assert JobOptions().but({"access": "shared", "partition_by": "path"}).access == "shared"


def test_a_conflict_without_a_partition_is_one_of_the_whole_task() -> None:
    chosen = JobOptions().but({"conflict": "latest"})
    assert callable(chosen.partition_by)
    assert chosen.partition_by("any", thing=1) == "*"


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ({"max_concurrent": 4}, {"max_concurrent": 5}),
        ({"max_concurrent": 4}, {"max_concurrent": None}),
        ({"rate": "10/m"}, {"rate": "11/m"}),
        ({"rate": "10/m"}, {"rate": "10/m burst 2"}),
        ({"rate": "10/m"}, {"rate": None}),
        ({"partition_by": "a"}, {"partition_by": "b"}),
        ({"conflict": "refuse"}, {"conflict": "wait"}),
        ({"access": "exclusive", "partition_by": "a"}, {"access": "shared"}),
        ({"resources": {"gpu": 1, "licence": 1}}, {"resources": {"gpu": 2}}),
        ({"resources": {"gpu": 1}}, {"resources": {}}),
        ({"cpu_weight": 2}, {"cpu_weight": 1}),
        ({"memory_mb": 500}, {"memory_mb": None}),
        ({"disk_mb": 5}, {"disk_mb": 0}),
    ],
    ids=str,
)
def test_a_submit_does_not_widen_a_limit(declared: dict[str, Any], given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="the task's") as caught:
        JobOptions().but(declared).at_submit(given)
    assert caught.value.option == next(iter(given))


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ({"max_concurrent": 4}, {"max_concurrent": 4}),
        ({"max_concurrent": 4}, {"max_concurrent": 1}),
        ({}, {"max_concurrent": 9, "rate": "1/s", "partition_by": "a", "conflict": "latest"}),
        ({"resources": {"gpu": 1}}, {"resources": {"gpu": 2, "licence": 1}}),
        ({"cpu_weight": 2}, {"cpu_weight": 3}),
        ({"memory_mb": 500, "disk_mb": 5}, {"memory_mb": 600, "disk_mb": 1}),
        ({"rate": "10/m burst 3"}, {"rate": "9/m burst 3"}),
        ({"rate": "10/m burst 3"}, {"rate": "10/m"}),
    ],
    ids=str,
)
def test_a_submit_may_tighten_a_limit(declared: dict[str, Any], given: dict[str, Any]) -> None:
    chosen = JobOptions().but(declared).at_submit(given)
    assert {name: getattr(chosen, name) for name in given} == given


def test_the_hosts_own_operation_types() -> None:
    with override_settings(JOBS={"OPERATION_TYPES": ["rendering"]}):
        assert JobOptions().but({"operation_type": "rendering"}).operation_type == "rendering"
        assert JobOptions().but({"operation_type": "analysis"}).operation_type == "analysis"
    with pytest.raises(InvalidOption, match="OPERATION_TYPES"):
        JobOptions().but({"operation_type": "rendering"})


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "\ud800"], ids=repr)
def test_what_is_no_name_of_a_task(name: str) -> None:
    assert task_name("demo.render") == "demo.render"
    with pytest.raises(InvalidOption, match="task"):
        task_name(name)

"""Values as people read them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.core.encoding import beginning, dumps
from jobs.core.options import rate
from jobs.models import Attempt, Job
from jobs.monitoring import formatting
from jobs.web.argument_previews import HEAD
from jobs.web.templatetags import jobs_display

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.34, "340 ms"),
        (2.44, "2.4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (65, "1 min 05 s"),
        (3599.6, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (172_800, "2 d 0 h"),
        (10**7, "115 d 17 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert formatting.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (-1, "just now"),
        (5, "5 s ago"),
        (90, "1 min ago"),
        (7200, "2 h ago"),
        (100_000, "27 h ago"),
        (3 * 86_400, "3 d ago"),
        (-300, "in 5 min"),
    ],
)
def test_distances(seconds: float, words: str) -> None:
    assert formatting.distance(NOON - timedelta(seconds=seconds), NOON) == words


def test_how_long_a_job_ran() -> None:
    assert formatting.ran_for(Job(), NOON) == ""
    assert formatting.ran_for(Job(started_at=NOON - timedelta(seconds=5)), NOON) == "5.0 s"
    assert formatting.ran_for(Job(started_at=NOON, finished_at=NOON + timedelta(seconds=2)), None) == "2.0 s"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, ""),
        ({"reason": "wrong file", "force": True}, "“wrong file”"),
        ({"why": "its process\ndied", "instead_of": "rescue"}, "its process died · in place of rescue"),
        ({"error": "ValueError: no"}, "ValueError: no"),
        ({"reason": "x" * 300}, "“" + "x" * 198 + "…"),
        ({"why": 7, "reason": None}, "7"),
    ],
)
def test_what_an_event_says(data: dict[str, Any], words: str) -> None:
    assert formatting.event_details(data) == jobs_display.event_details(data) == words


def test_the_bounds_of_an_attempt() -> None:
    assert formatting.bounds(Job()) == []
    told = dict(formatting.bounds(Job(timeout=300, grace=2.5, memory_mb=2048, disk_mb=10)))
    assert told == {
        "Time-out": "5 min 00 s",
        "Grace": "2.5 s",
        "Memory declared": "2,048 MB",
        "Disk declared": "10 MB",
    }


def test_attempts() -> None:
    shown = [formatting.attempts(Job(attempt=attempt, max_retries=most)) for attempt, most in ((0, 3), (1, 0), (2, 3))]
    assert shown == ["–", "1", "2 of 4"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"abc", "<3 bytes>"),
        (NOON, "2030-01-01T12:00:00+00:00"),
        (date(2030, 1, 1), "2030-01-01"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (timedelta(seconds=90), "0:01:30"),
    ],
)
def test_what_json_has_no_word_for(value: Any, shown: str) -> None:
    assert json.loads(formatting.as_json({"at": [value]})) == {"at": [shown]}


def test_a_long_value_is_cut_and_says_so() -> None:
    shown = formatting.as_json("x" * 50_000)
    assert len(shown) < 20_100
    assert shown.endswith("… 30,002 characters more")


def test_the_bulk_of_a_picture_is_left_out() -> None:
    shown = formatting.as_json({"type": "image/png", "base64": "A" * 5000})
    assert json.loads(shown) == {"type": "image/png", "base64": "<5,000 characters>"}


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, 'k"<&>': ["<b>", -1.5e-7, True, None, 'q"uote\\']},
        [],
        "null",
        {"1": "2: 3"},
        "x" * 30_000,
        'a"' * 20_000,
    ],
)
def test_colours_change_no_character(value: Any) -> None:
    """Without its tags, and unescaped, the block is the JSON text."""
    block = jobs_display.json_block(value)
    bare = block.replace("</span>", "")
    for kind in ("key", "string", "number", "word"):
        bare = bare.replace(f'<span class="j-{kind}">', "")
    assert "<" not in bare
    for entity, letter in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&amp;": "&"}.items():
        bare = bare.replace(entity, letter)
    assert bare == formatting.as_json(value)


@pytest.mark.parametrize(
    ("args", "kwargs", "shown"),
    [
        ([], {}, ""),
        (["json", 79], {"deep": True}, "json, 79, deep=true"),
        (["two\n lines", "", None, [1, {"a": "b"}]], {}, 'two lines, "", null, [1, {"a": "b"}]'),
        ([NOON, b"abc"], {"price": Decimal("1.50")}, '"2030-01-01T12:00:00+00:00", "<3 bytes>", price="1.50"'),
        ([{"password": "hunter2"}], {"api_key": "hunter2"}, '{"password": "••••••"}, api_key=••••••'),
        (["x" * 59, "y"], {}, "x" * 59 + "…"),
        (["a", list(range(500))], {"b": 1}, "a, …, b=1"),
        (["a"], {"b": 1, "c": "d" * 400}, "a, b=1, c=" + "d" * 49 + "…"),
        (["a"], {"b": {"password": "hunter2", "c": "d" * 400}}, "a, …"),
        (["a"], {"token": "hunter2" * 400}, "a, token=••••••, …"),
        ([], {"__jobs__": 1, "password": "hunter2"}, "…"),
    ],
)
def test_arguments_in_short(args: list[Any], kwargs: dict[str, Any], shown: str) -> None:
    assert formatting.excerpt(dumps(args)[:HEAD], dumps(kwargs)[:HEAD]) == shown


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(TEXTS | st.integers() | st.none(), lambda one: st.lists(one) | st.dictionaries(TEXTS, one))


@example(["x", 1], len('["x",'))
@given(st.lists(VALUES), st.integers(0, 200))
def test_the_beginning_of_a_value_is_the_value_cut(values: list[Any], length: int) -> None:
    whole = dumps(values)
    pairs, has_more = beginning(whole[:length])
    found = [value for _, value in pairs]
    assert has_more is (length < len(whole))
    if found and has_more and found[-1] != values[len(found) - 1]:  # a string may be cut
        assert values[len(found) - 1].startswith(found.pop())
    assert found == values[: len(found)]
    assert has_more or found == values


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0"), (1024, "1,024"), (0.5, "0.5"), (2**31, "2,147,483,648")]
)
def test_amounts(value: float | None, text: str) -> None:
    assert formatting.number(value) == text


@pytest.mark.parametrize("text", ["10/m", "100/10m burst 5", "1/h", "3/2d", "0.5/s", "7/90s", "2/m burst 2"])
def test_a_rate_is_spelled_as_it_is_read(text: str) -> None:
    size, period, burst = rate.parse(text)
    assert rate.parse(rate.spelled(size, period, burst)) == (size, period, burst)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, []),
        ({"cpu_seconds": 0.004, "average_cpu": 99.6}, ["4 ms of CPU, 100 % of a core"]),
        ({"cpu_seconds": 75.0}, ["1 min 15 s of CPU"]),
        ({"peak_memory_mb": 1234.5, "peak_disk_mb": 0.0}, ["1,234 MB of memory", "under 1 MB of disk"]),
        ({"metrics": {"child_processes": 2}, "performance_score": 99.6}, ["child processes: 2", "score 100"]),
        ({"metrics": {"rows": 7}}, []),
    ],
)
def test_what_was_used(figures: dict[str, Any], words: list[str]) -> None:
    assert formatting.used(Attempt(**figures)) == words

"""What each edge does to the job's columns beside the state, as one table. Spells no statement, runs none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobs.states import EDGES, FINAL, JobState


@dataclass(frozen=True)
class Sql:
    """An SQL expression with its parameters, where a column is not simply set to a value."""

    text: str
    params: tuple[Any, ...] = ()


FRESH_LIVE = {"progress": Sql("0"), "stage": Sql("''"), "message": Sql("''"), "sub_progress": Sql("NULL")}
_ANSWERED = {"release_count": Sql("0"), "unknown_since": Sql("NULL")}
_ENDED = {"finished_at": Sql("{now}"), "active_key": Sql("NULL")}
_WAITS_AGAIN = {**FRESH_LIVE, "queued_at": Sql("NULL"), "published_at": Sql("NULL"), "started_at": Sql("NULL")}
_ONE_ERROR = {"error_count": Sql("error_count + 1")}
COUNTED = {
    "retry": {"retry_count": Sql("retry_count + 1"), **_ONE_ERROR},
    "rescue": {"rescue_count": Sql("rescue_count + 1"), **_ONE_ERROR},
}
"""What stays counted of these edges where another is taken in their place."""
EFFECTS: dict[str, dict[str, Sql]] = {
    "admit": {"attempt_id": Sql("{uuid}"), "queued_at": Sql("{now}"), "published_at": Sql("NULL")},
    "release": {"queued_at": Sql("NULL"), "published_at": Sql("NULL"), "release_count": Sql("release_count + 1")},
    "claim": {
        "started_at": Sql("{now}"),
        "attempt": Sql("attempt + 1"),
        "published_at": Sql("COALESCE(published_at, {now})"),
        **_ANSWERED,
    },
    "complete": {"progress": Sql("100"), **_ENDED},
    "fail": {**_ENDED, "fallback_due": Sql("fallback <> ''"), **_ONE_ERROR},
    "cancel": _ENDED,
    "retry": {**COUNTED["retry"], **_WAITS_AGAIN},
    "snooze": _WAITS_AGAIN,
    "interrupt": _WAITS_AGAIN,
    "rescue": {**COUNTED["rescue"], **_WAITS_AGAIN},
    "pause": {
        "queued_at": Sql("NULL"),
        "published_at": Sql("NULL"),
        "started_at": Sql("NULL"),
        "pause_requested_at": Sql("NULL"),
    },
    "resume": {"eligible_at": Sql("{now}"), "reason": Sql("''"), "paused_by": Sql("''")},
    "requeue": {
        "run": Sql("run + 1"),
        "attempt": Sql("0"),
        "retry_count": Sql("0"),
        "rescue_count": Sql("0"),
        "error_count": Sql("0"),
        **_ANSWERED,
        "finished_at": Sql("NULL"),
        "result": Sql("NULL"),
        "result_error": Sql("''"),
        "error_category": Sql("''"),
        "error_type": Sql("''"),
        "error_message": Sql("''"),
        "reason": Sql("''"),
        "error_fingerprint": Sql("''"),
        "stop_error_type": Sql("''"),
        "stop_error_message": Sql("''"),
        "fallback_due": Sql("FALSE"),
        "expires_at": Sql("NULL"),
        "cancel_requested_at": Sql("NULL"),
        "cancel_requested_by": Sql("''"),
        "cancel_force": Sql("FALSE"),
        "pause_requested_at": Sql("NULL"),
        "paused_by": Sql("''"),
        "checkpoint": Sql("NULL"),
        "eligible_at": Sql("{now}"),
        **_WAITS_AGAIN,
    },
}
BACK_TO_WAITING = frozenset({"retry", "snooze", "interrupt", "rescue"})

assert set(EFFECTS) <= set(EDGES)  # noqa: S101 - a typo here would silently set nothing
assert all(JobState(target) in FINAL for name in ("complete", "fail", "cancel") for target in EDGES[name].targets)  # noqa: S101

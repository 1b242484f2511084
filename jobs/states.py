"""The state machine: every state and every edge of a job, once; and the categories of what ends one in failure.

Choices, the final set, check constraints, admin filters, metric labels, the diagram in the docs and the
exhaustive (state x edge) test are computed from the tables here. This module knows nothing of the database.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """A job's lifecycle state. The value is what the row holds."""

    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


MEANINGS: dict[JobState, str] = {
    JobState.SCHEDULED: "not before run_after: a delay, a retry's back-off, a snooze",
    JobState.BLOCKED: "waits for other jobs",
    JobState.PENDING: "may run; waits for admission",
    JobState.QUEUED: "admitted: holds its slot and budget, its message is with the broker",
    JobState.RUNNING: "claimed by a worker",
    JobState.PAUSED: "held by a person or parked at a checkpoint; holds nothing",
    JobState.COMPLETED: "ended well",
    JobState.FAILED: "gave up",
    JobState.CANCELLED: "stopped on request",
}

CHOICES = [(state.value, state.value) for state in JobState]
FINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
UNFINISHED = tuple(state for state in JobState if state not in FINAL)
IN_FLIGHT = (JobState.QUEUED, JobState.RUNNING)
WAITING = (JobState.SCHEDULED, JobState.BLOCKED, JobState.PENDING, JobState.QUEUED)
NOT_RUNNING = (*WAITING, JobState.PAUSED)


class ErrorCategory(StrEnum):
    """What kind of failure it was. A body may say a word of its own (`JobFailed(category=…)`) beside these."""

    USER = "user"
    TRANSIENT = "transient"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    DISK = "disk"
    LOST = "lost"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    DEPENDENCY = "dependency"
    EXPIRED = "expired"
    IMPOSSIBLE = "impossible"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN = "unknown"


CATEGORIES: dict[ErrorCategory, str] = {
    ErrorCategory.USER: "the code or what it was given is wrong; JobFailed that says no other",
    ErrorCategory.TRANSIENT: "something outside was away or busy; self.retry()",
    ErrorCategory.TIMEOUT: "the attempt ran longer than it may",
    ErrorCategory.MEMORY: "it needed more memory than there is, or than it may",
    ErrorCategory.DISK: "it needed more disk than there is, or than it may",
    ErrorCategory.LOST: "its process died once too often, or once where that is all it has",
    ErrorCategory.STOPPED: "a person or another job stopped it with an error",
    ErrorCategory.CANCELLED: "the body was asked to stop, and did",
    ErrorCategory.DEPENDENCY: "a job that it depends on did not end well",
    ErrorCategory.EXPIRED: "it was not started in time",
    ErrorCategory.IMPOSSIBLE: "it needs more than its pool has in all",
    ErrorCategory.UNKNOWN_TASK: "no worker knows its task",
    ErrorCategory.UNKNOWN: "no rule says what its exception means",
}
RETRIED = frozenset(
    {
        ErrorCategory.USER,
        ErrorCategory.TRANSIENT,
        ErrorCategory.TIMEOUT,
        ErrorCategory.DISK,
        ErrorCategory.UNKNOWN,
    }
)
"""Tried again while retries are left, where nothing more exact is said."""


@dataclass(frozen=True)
class Edge:
    """One named way from some states to others.

    `targets` has several entries where the job goes back to where it belongs now. `outcome` is what an attempt that
    this edge ends is called; edges that cannot leave `running` have none.
    """

    name: str
    sources: tuple[JobState, ...]
    targets: tuple[JobState, ...]
    outcome: str | None = None
    by: str = ""

    @property
    def target(self) -> JobState:
        """The only target; ValueError where the edge has several."""
        (target,) = self.targets
        return target


_S = JobState
_BELONGS = (_S.SCHEDULED, _S.BLOCKED, _S.PENDING)

EDGES: dict[str, Edge] = {
    edge.name: edge
    for edge in (
        Edge("create", (), (_S.SCHEDULED, _S.BLOCKED, _S.PENDING, _S.PAUSED), by="submission"),
        Edge("unblock", (_S.BLOCKED,), (_S.SCHEDULED, _S.PENDING), by="dependencies"),
        Edge("due", (_S.SCHEDULED,), (_S.PENDING,), by="steward"),
        Edge("run_now", (_S.SCHEDULED,), (_S.PENDING,), by="a person"),
        Edge("admit", (_S.PENDING,), (_S.QUEUED,), by="admission"),
        Edge("release", (_S.QUEUED,), (_S.PENDING,), by="steward, control"),
        Edge("claim", (_S.QUEUED,), (_S.RUNNING,), by="execution"),
        Edge("complete", (_S.RUNNING, _S.BLOCKED), (_S.COMPLETED,), "completed", by="execution"),
        Edge("fail", (_S.RUNNING, *WAITING, _S.PAUSED), (_S.FAILED,), "failed", by="execution, steward"),
        Edge("retry", (_S.RUNNING,), (_S.SCHEDULED,), "retried", by="execution"),
        Edge("snooze", (_S.RUNNING,), (_S.SCHEDULED,), "snoozed", by="execution"),
        Edge("interrupt", (_S.RUNNING,), (_S.PENDING,), "interrupted", by="worker"),
        Edge("rescue", (_S.RUNNING,), (_S.PENDING,), "lost", by="worker, steward"),
        Edge("pause", (*WAITING, _S.RUNNING), (_S.PAUSED,), "paused", by="control, execution"),
        Edge("resume", (_S.PAUSED,), _BELONGS, by="control"),
        Edge("cancel", UNFINISHED, (_S.CANCELLED,), "cancelled", by="control, execution, steward"),
        Edge("requeue", (_S.FAILED, _S.CANCELLED), _BELONGS, by="a person's retry"),
    )
}

OUTCOMES = tuple(dict.fromkeys(edge.outcome for edge in EDGES.values() if edge.outcome))

_COARSE = dict.fromkeys(WAITING, "pending")


def status(state: str) -> str:
    """The coarse word of a state: scheduled, blocked, pending and queued are `pending`, the others as they are."""
    return _COARSE.get(JobState(state), state)


def sql_in(states: Collection[JobState]) -> str:
    """SQL: whether a row is in one of these states."""
    return "state IN ('{}')".format("', '".join(states))


def is_final(state: str) -> bool:
    """Whether a job in this state has ended."""
    return state in FINAL


def diagram() -> str:
    """The state machine as a Mermaid diagram; the docs hold its output and a test compares them."""
    lines = ["stateDiagram-v2"]
    for edge in EDGES.values():
        for source in edge.sources or ("[*]",):
            lines.extend(f"    {source} --> {target}: {edge.name}" for target in edge.targets)
    lines.extend(f"    {state} --> [*]" for state in JobState if state in FINAL)
    return "\n".join(lines)

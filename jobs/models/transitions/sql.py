"""The SQL of a move, put together once per shape. Every value is a parameter; nothing here runs a statement."""

from __future__ import annotations

import functools

from jobs.core.db.dialects import Dialect
from jobs.states import EDGES, Edge, JobState

Texts = tuple[tuple[str, str], ...]  # column, SQL expression
BY_ID = "id = %s"  # how the `where` of a move begins that means one job
ATTEMPT_TYPES = {"worker_id": "uuid", "hostname": "text", "pid": "int"}


@functools.cache
def one_statement(
    edge_name: str,
    sources: tuple[JobState, ...],
    where: str,
    to: str | None,
    sets: Texts,
    attempt: Texts,
    columns: tuple[str, ...],
    db: Dialect,
) -> str:
    edge = EDGES[edge_name]
    names = ", ".join(f"j.{column}" for column in columns)
    if len(sources) == 1:
        head_update = update_job(edge_name, sources, where, to, sets, db, alias="j")
        head = f"WITH moved AS ({head_update} RETURNING {names}, '{sources[0]}' AS from_state)"
    else:
        standing = f"({where}) AND {standing_at(sources)}"
        old = f"SELECT id, state AS from_state FROM jobs_job WHERE {standing} ORDER BY id FOR UPDATE"
        head_update = f"UPDATE jobs_job j SET {_setting(edge, to, sets, db)} FROM old WHERE j.id = old.id"
        head = f"WITH old AS ({old}), moved AS ({head_update} RETURNING {names}, old.from_state)"
    event = (
        "event AS (INSERT INTO jobs_jobevent (job_id, seq, name, from_state, to_state, at, attempt_id, actor, data)"
        f" SELECT id, event_seq, '{edge_name}', from_state, state, updated_at, attempt_id, %s, %s::jsonb FROM moved)"
    )
    parts = [head, event, *_attempt_cte(edge, attempt, is_one=where.startswith(BY_ID))]
    return f"{', '.join(parts)} SELECT {', '.join(columns)}, from_state FROM moved"


def _attempt_cte(edge: Edge, attempt: Texts, *, is_one: bool) -> list[str]:
    """The attempt that the edge opens or closes.

    It is found by a scalar, or an array: as a join, planned while the table was empty, each end read all attempts.
    """
    if edge.name == "claim":
        names = ", ".join(["id", "job_id", "run", "number", "started_at", *(name for name, _ in attempt)])
        given = (f"{text}::{ATTEMPT_TYPES[name]}" for name, text in attempt)  # a bare parameter here would be text
        values = ", ".join(["attempt_id", "id", "run", "attempt", "updated_at", *given])
        return [f"opened AS (INSERT INTO jobs_attempt ({names}) SELECT {values} FROM moved)"]
    if edge.outcome:
        closing = closing_columns(edge, attempt)
        which = (
            "WHERE a.id = (SELECT attempt_id FROM moved)"
            if is_one
            else "WHERE a.id = ANY(ARRAY(SELECT attempt_id FROM moved))"
        )
        return [f"closed AS (UPDATE jobs_attempt a SET {closing} {which} AND a.outcome = '')"]
    return []


def closing_columns(edge: Edge, attempt: Texts) -> str:
    """With the edge's outcome, unless the attempt says another: that of the edge in whose place this one is taken."""
    own = [] if any(name == "outcome" for name, _ in attempt) else [f"outcome = '{edge.outcome}'"]
    return ", ".join(["finished_at = {now}", *own, *(f"{name} = {text}" for name, text in attempt)])


def update_job(
    edge_name: str,
    sources: tuple[JobState, ...],
    where: str,
    to: str | None,
    sets: Texts,
    db: Dialect,
    alias: str = "",
) -> str:
    setting = _setting(EDGES[edge_name], to, sets, db)
    return f"UPDATE jobs_job {alias} SET {setting} WHERE ({where}) AND {standing_at(sources)}"


def _setting(edge: Edge, to: str | None, sets: Texts, db: Dialect) -> str:
    state = to if to is not None else f"'{edge.target}'"
    columns = [f"{name} = {text.replace('{uuid}', db.new_uuid)}" for name, text in sets]
    return ", ".join([f"state = {state}", "event_seq = event_seq + 1", "updated_at = {now}", *columns])


def standing_at(sources: tuple[JobState, ...]) -> str:
    """The guard. COALESCE keeps it from every index: the row is found by what `where` says, which is its id as a rule.

    With statistics that are behind, PostgreSQL took the index on the state for the cheapest way to one row, and read
    every queued job to find it.
    """
    return f"COALESCE(state, '') IN ({', '.join(repr(str(source)) for source in sources)})"

"""The parts of a statement that differ between database vendors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

PAYLOAD = ("id", "args", "kwargs", "partition", "lane")  # what differs between the jobs of one submission
bound: ContextVar[datetime | None] = ContextVar("bound_now", default=None)


class Dialect:
    """The SQL of one database vendor."""

    vendor: ClassVar[str]
    clock: ClassVar[str]
    new_uuid: ClassVar[str]
    skip_locked: ClassVar[str] = ""
    for_update: ClassVar[str] = ""
    no_fsync_columns: ClassVar[str] = ""
    """More columns of a SELECT: this transaction then commits without a flush and reuses generic plans."""
    native_uuids: ClassVar[bool] = False
    writes_in_cte: ClassVar[bool] = False
    updates_return: ClassVar[bool] = True
    has_lateral: ClassVar[bool] = False
    skips_in_index: ClassVar[bool] = False
    notifies: ClassVar[bool] = False
    sets_locally: ClassVar[bool] = False
    no_moment: ClassVar[str] = "NULL"
    moment: ClassVar[str] = "%s"
    uuid: ClassVar[str] = "%s"

    def literal(self, moment: datetime) -> str:
        """An aware datetime as SQL text."""
        raise NotImplementedError

    def epoch(self, expression: str) -> str:
        """A timestamp as epoch seconds."""
        raise NotImplementedError

    def later(self, expression: str, seconds: str = "%s") -> str:
        """A timestamp moved by a number of seconds (a parameter, or an SQL expression)."""
        raise NotImplementedError

    def contains(self, column: str) -> str:
        """Whether a JSON list holds the string parameter."""
        raise NotImplementedError

    def id_in(self, column: str) -> str:
        """Whether an id column is one of the ids in a parameter made by `id_list`."""
        raise NotImplementedError

    def id_list(self, values: Iterable[UUID]) -> Any:
        """Many ids as one parameter for `id_in`: the statement's text is the same for any number of ids."""
        raise NotImplementedError

    def pick_skip_locked(self, select: str) -> str:
        """Whether the id is one that a SELECT with a LIMIT finds and locks, skipping locked rows.

        The SELECT must run once. `id IN (SELECT … LIMIT 2 FOR UPDATE SKIP LOCKED)` may run it once for each row of the
        other side of a join, skip what the last run has locked, and update them all.
        """
        raise NotImplementedError

    def resolve_pick(self, where: str) -> str | None:
        """The SELECT inside a `pick_skip_locked` condition, if it must run before the statement; else None."""
        return None

    def on_conflict_nothing(self, key: str) -> str:
        """The end of an INSERT that skips rows whose key exists; empty where that is an IntegrityError."""
        return f"ON CONFLICT ({key}) DO NOTHING"

    def on_conflict_update(self, keys: Sequence[str], column: str) -> str:
        """The end of an INSERT that updates one column where the keys exist."""
        return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {column} = excluded.{column}"

    def as_text(self, column: str) -> str:
        """A JSON column as text."""
        return f"CAST({column} AS text)"

    def long_aggregates(self, select: str) -> str:
        """A SELECT whose aggregated texts may be long, with the limit raised where there is one."""
        return select

    def with_lock_timeout(self, insert: str, seconds: int) -> str:
        """An INSERT that waits at most so long for a lock; unchanged where the time-out is set another way."""
        return insert

    def simultaneous_assignment(self, update: str) -> str:
        """An UPDATE in which every expression reads the old row."""
        return update

    def as_many_rows(self, insert: str, times: int) -> str | None:
        """An INSERT of one row as an INSERT of many; None where running it many times is better."""
        return None

    def _as_many_rows(self, insert: str, times: int, end: str) -> str | None:
        """The same, where `end` follows the values; None for any other statement."""
        head, values, rest = insert.partition(" VALUES ")
        row, also, rest = rest.partition(end)
        return f"{head}{values}{', '.join([row] * times)}{also}{rest}" if values else None

    def adapt(self, sql: str, params: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """A statement and its parameters as the driver needs them."""
        return sql, params

    def payload_rows(self, run_after: str) -> str:
        """A SELECT of PAYLOAD and run_after, one row per job of a submission, from `payload`'s parameters."""
        raise NotImplementedError

    def payload(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The PAYLOAD of any number of jobs as a fixed number of parameters."""
        raise NotImplementedError

    def id_rows(self) -> str:
        """The ids in a parameter made by `id_list`, as rows of one column `id`."""
        raise NotImplementedError

    def json_columns(self, columns: Sequence[str], rest: str) -> str:
        """A sub-select whose one value is the JSON text of a list with a list for each column, empty without a row.

        By columns, for what is read: ten thousand small lists cost Python more than four long ones.
        """
        raise NotImplementedError

    def json_list(self, expression: str, only: str) -> str:
        """An aggregate: the JSON list of an expression, over the rows for which a condition holds."""
        raise NotImplementedError

    def json_value(self, column: str) -> str:
        """A column made by `json_list`, as `json_columns` needs it."""
        raise NotImplementedError

    def now(self) -> str:
        """The database's clock when the statement starts, or the literal that a test has bound."""
        moment = bound.get()
        return self.clock if moment is None else self.literal(moment)

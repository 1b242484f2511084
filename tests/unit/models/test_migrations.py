"""What a migration may do to tables with millions of rows that workers use: nothing that locks them for longer.

After the first one: new columns that need no rewrite, and `jobs/migrations/_safely.py` for indexes and constraints.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.models import BigIntegerField, CharField, Index, IntegerField, Q, UniqueConstraint

from jobs.admission.limits.lanes import Facts

_safely: Any = import_module("jobs.migrations._safely")  # without annotations, as migrations are
LARGE = {"job", "attempt", "jobevent", "joblog"}
FIRST = "0001_initial"
UNLOCKED = (
    _safely.AddIndexConcurrently,
    _safely.RemoveIndexConcurrently,
    _safely.AddCheckLater,
    _safely.AddUniqueConcurrently,
    _safely.RemoveConstraintIfThere,
)
QUICK = (
    operations.RemoveField,
    operations.RemoveIndex,
    operations.RemoveConstraint,
    operations.AlterModelOptions,
    operations.CreateModel,
    operations.RenameIndex,
    operations.AlterModelManagers,
)
# Alterations for which PostgreSQL neither rewrites nor reads the table.
_TEXT = "varchar becomes text, and has no index"
HARMLESS = {
    "active_key": "drops a unique constraint, which another one has replaced by then",
    "worker": "the column stays as it is: no foreign key is enforced by the database",
    **dict.fromkeys(("cancel_requested_by", "error_type", "message", "paused_by", "stage"), _TEXT),
}


def problems(migration: Any) -> list[str]:
    """Why a migration would keep others out of a large table."""
    found = [told for one in migration.operations if _model(one) in LARGE for told in _problem(one)]
    if migration.atomic and any(isinstance(one, UNLOCKED) for one in migration.operations):
        found.append("builds without a lock, so it must say atomic = False")
    touches = [one for one in migration.operations if _model(one) in LARGE]
    if migration.atomic and touches and not isinstance(migration.operations[0], _safely.LockTimeout):
        found.append("waits for a lock without a bound: begin with LockTimeout()")
    if not migration.atomic and any(isinstance(one, operations.AddField) for one in migration.operations):
        found.append("adds columns outside of a transaction, which cannot be done again: use AddFields")
    if migration.atomic and any(
        isinstance(one, operations.RunPython | operations.RunSQL) for one in migration.operations
    ):
        found.append("writes rows in one transaction: say atomic = False, and write in batches")
    return found


def _problem(one: Any) -> Iterator[str]:
    if isinstance(one, _safely.AddFields):
        yield from (told for name, field in one.fields for told in _rewrites(name, field))
    elif isinstance(one, operations.AddField):
        yield from _rewrites(one.name, one.field)
    elif isinstance(one, operations.AlterField):
        if one.name not in HARMLESS:
            yield f"alters {one.name}: PostgreSQL may rewrite the table, or read all of it"
    elif not isinstance(one, UNLOCKED + QUICK):
        yield f"{one.describe()}: use jobs/migrations/_safely.py"


def _rewrites(name: str, field: Any) -> Iterator[str]:
    if field.unique or field.db_index:
        yield f"adds {name} with an index, which is built under a lock"
    if not field.null and not field.has_db_default():
        yield f"adds {name} as NOT NULL without a db_default: workers of the last release cannot insert"


def _model(one: Any) -> str:
    return str(getattr(one, "model_name", getattr(one, "name", ""))).lower()


def _later() -> Sequence[Migration]:
    loader = MigrationLoader(None)
    return [
        loader.disk_migrations[key] for key in sorted(loader.disk_migrations) if key[0] == "jobs" and key[1] != FIRST
    ]


@pytest.mark.parametrize("migration", _later(), ids=lambda migration: migration.name)
def test_no_migration_keeps_others_out_of_a_large_table(migration: Migration) -> None:
    assert problems(migration) == []


def _made(*does: Any, atomic: bool = True) -> Any:
    return type("M", (Migration,), {"operations": list(does), "atomic": atomic})("made", "jobs")


@pytest.mark.parametrize(
    "operation",
    [
        operations.AddIndex("job", Index(fields=["task"], name="x")),
        operations.AddConstraint("attempt", UniqueConstraint(fields=["job"], name="x")),
        operations.AlterField("job", "task", CharField(max_length=500)),
        operations.AddField("job", "x", IntegerField(default=0)),
        operations.AddField("job", "x", IntegerField(null=True, db_index=True)),
        operations.AddField("job", "x", IntegerField(null=True, unique=True)),
        operations.RenameField("jobevent", "at", "moment"),
        _safely.AddFields("job", [("x", BigIntegerField())]),
        operations.RunPython(operations.RunPython.noop),
        _safely.AddIndexConcurrently("job", Index(fields=["task"], name="x")),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_rule_finds_what_would(operation: Any) -> None:
    assert problems(_made(_safely.LockTimeout(), operation))


def test_the_rule_lets_pass_what_is_quick() -> None:
    quick = operations.AddField("job", "x", IntegerField(null=True))
    assert problems(_made(_safely.LockTimeout(), quick)) == []
    assert problems(_made(quick)) == ["waits for a lock without a bound: begin with LockTimeout()"]
    assert problems(_made(operations.AddIndex("limit", Index(fields=["task"], name="x")))) == []
    index = Index(fields=["task"], name="x", condition=Q(state="failed"))
    assert problems(_made(_safely.AddIndexConcurrently("job", index), atomic=False)) == []


def test_what_is_no_transaction_can_be_done_again() -> None:
    pool = operations.AddField("pool", "x", IntegerField(null=True))
    assert problems(_made(pool, atomic=False)) == [
        "adds columns outside of a transaction, which cannot be done again: use AddFields"
    ]
    assert problems(_made(_safely.AddFields("pool", [("x", IntegerField(null=True))]), atomic=False)) == []


def test_the_large_tables_are_there() -> None:
    assert {model._meta.model_name for model in apps.get_app_config("jobs").get_models()} >= LARGE


FROZEN = {"jobs.states", "jobs.models.expressions", "jobs.models.fields", "jobs.migrations._safely"}


@pytest.mark.parametrize(
    "path", sorted(Path(import_module("jobs.migrations").__path__[0]).glob("0*.py")), ids=lambda path: path.stem
)
def test_a_migration_runs_no_code_that_may_change(path: Path) -> None:
    """It imports the names that its columns and indexes are made of; what it computes stands in itself."""
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name and name.startswith("jobs")
    }
    assert imported <= FROZEN


def test_jobs_of_before_the_lanes_get_the_lane_that_a_submit_computes() -> None:
    frozen: Any = import_module("jobs.migrations.0007_large_tables")
    for task, timeout in (("a.task", None), ("b.task", 30.0), ("b.task", 30)):
        assert frozen.lane_of(task, timeout) == Facts(task, timeout=timeout).lane

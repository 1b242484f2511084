"""Operations for tables with millions of rows, which workers use meanwhile. On PostgreSQL nothing here keeps the others
out for longer than a glance at the catalogue takes; elsewhere each does what Django's own operation does.

What is built without a lock is no transaction: a migration that uses it says `atomic = False`, and each operation can
be done again after it was broken off.
"""

import time
from contextlib import nullcontext

from django.db import OperationalError, transaction
from django.db.migrations.operations import AddConstraint, AddField, AddIndex, RemoveConstraint, RemoveIndex
from django.db.migrations.operations.base import Operation

PATIENCE = 60  # seconds that an operation asks again for its lock
GLANCE = "1s"  # the longest that others queue up behind one that waits for it


class LockTimeout(Operation):
    """First in an atomic migration: give up rather than have everybody queue up behind a lock that is not to be had."""

    reduces_to_sql = False
    reversible = True

    def state_forwards(self, app_label, state):
        """Changes no model."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"SET LOCAL lock_timeout = '{GLANCE}'", params=None)

    database_backwards = database_forwards

    def describe(self):
        return "Wait for no lock for longer than a second"


class AddFields(Operation):
    """Several columns of one table at once: without Django's thinking between them while PostgreSQL locks the table.

    Those that are there already are left alone, so it may stand where there is no transaction; in one, it is the last
    operation, since the lock lasts until the commit.
    """

    reduces_to_sql = False
    reversible = True

    def __init__(self, model_name, fields):
        self.model_name, self.fields = model_name, fields

    def deconstruct(self):
        return self.__class__.__name__, [self.model_name, self.fields], {}

    def state_forwards(self, app_label, state):
        for one in self._each():
            one.state_forwards(app_label, state)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            before, after = (state.apps.get_model(app_label, self.model_name) for state in (from_state, to_state))
            there = _columns(schema_editor, before)
            new = [after._meta.get_field(name) for name, _ in self.fields]
            missing = [field for field in new if field.column not in there]
            _briefly(schema_editor, lambda: [schema_editor.add_field(before, field) for field in missing])
            return
        with _whole(schema_editor.connection):
            for one, before, after in self._states(app_label, from_state):
                one.database_forwards(app_label, schema_editor, before, after)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        for one, before, after in reversed(list(self._states(app_label, to_state))):
            one.database_backwards(app_label, schema_editor, after, before)

    def describe(self):
        return f"Add fields to {self.model_name}: {', '.join(name for name, _ in self.fields)}"

    def _each(self):
        return [AddField(self.model_name, name, field) for name, field in self.fields]

    def _states(self, app_label, state):
        for one in self._each():
            after = state.clone()
            one.state_forwards(app_label, after)
            yield one, state, after
            state = after


class _Beside:
    """Has PostgreSQL do `build` and `unbuild`; any other database does Django's own operation, as one transaction.

    But MariaDB, which commits with each such statement.
    """

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            self.build(schema_editor, from_state.apps, to_state.apps, app_label)
        else:
            with _whole(schema_editor.connection):
                super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor == "postgresql":
            self.unbuild(schema_editor, from_state.apps, to_state.apps, app_label)
        else:
            with _whole(schema_editor.connection):
                super().database_backwards(app_label, schema_editor, from_state, to_state)


class AddIndexConcurrently(_Beside, AddIndex):
    """Build the index beside what goes on. One that an earlier try left half-built is removed first."""

    def build(self, editor, before, after, label):
        _build_index(editor, after.get_model(label, self.model_name), self.index)

    def unbuild(self, editor, before, after, label):
        editor.remove_index(before.get_model(label, self.model_name), self.index, concurrently=True)


class RemoveIndexConcurrently(_Beside, RemoveIndex):
    """Remove an index, if it is there; backwards it is built as `AddIndexConcurrently` does."""

    def build(self, editor, before, after, label):
        model = before.get_model(label, self.model_name)
        editor.remove_index(model, self._index(model), concurrently=True)

    def unbuild(self, editor, before, after, label):
        model = after.get_model(label, self.model_name)
        _build_index(editor, model, self._index(model))

    def _index(self, model):
        return next(index for index in model._meta.indexes if index.name == self.name)


class AddCheckLater(_Beside, AddConstraint):
    """Hold for new rows at once (NOT VALID), then look at the old ones while everybody works (VALIDATE)."""

    def build(self, editor, before, after, label):
        model = after.get_model(label, self.model_name)
        table, name = _quoted(editor, model, self.constraint.name)
        check = self.constraint.constraint_sql(model, editor)
        _alter(editor, f"{_dropped(table, name)}, ADD {check} NOT VALID")
        editor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}", params=None)

    def unbuild(self, editor, before, after, label):
        _alter(editor, _dropped(*_quoted(editor, before.get_model(label, self.model_name), self.constraint.name)))


class AddUniqueConcurrently(_Beside, AddConstraint):
    """Build the unique index beside what goes on, then make it the constraint's."""

    def build(self, editor, before, after, label):
        model = after.get_model(label, self.model_name)
        table, name = _quoted(editor, model, self.constraint.name)
        columns = ", ".join(editor.quote_name(model._meta.get_field(one).column) for one in self.constraint.fields)
        _alter(editor, _dropped(table, name))
        editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", params=None)
        editor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns})", params=None)
        _alter(editor, f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}")

    def unbuild(self, editor, before, after, label):
        _alter(editor, _dropped(*_quoted(editor, before.get_model(label, self.model_name), self.constraint.name)))


class RemoveConstraintIfThere(_Beside, RemoveConstraint):
    """Remove a check; no error where an earlier try has done so. Backwards as `AddCheckLater` does it."""

    def build(self, editor, before, after, label):
        _alter(editor, _dropped(*_quoted(editor, before.get_model(label, self.model_name), self.name)))

    def unbuild(self, editor, before, after, label):
        model = after.get_model(label, self.model_name)
        constraint = next(one for one in model._meta.constraints if one.name == self.name)
        AddCheckLater(self.model_name, constraint).build(editor, before, after, label)


def _whole(connection):
    return transaction.atomic(using=connection.alias) if connection.features.can_rollback_ddl else nullcontext()


def _build_index(editor, model, index):
    editor.remove_index(model, index, concurrently=True)  # IF EXISTS
    editor.add_index(model, index, concurrently=True)


def _quoted(editor, model, name):
    return editor.quote_name(model._meta.db_table), editor.quote_name(name)


def _dropped(table, name):
    return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"


def _columns(editor, model):
    with editor.connection.cursor() as cursor:
        return {
            column.name
            for column in editor.connection.introspection.get_table_description(cursor, model._meta.db_table)
        }


def _briefly(editor, act):
    """What needs the table to itself for a moment: tried again and again, each time for a second."""
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            with transaction.atomic(using=editor.connection.alias):
                editor.execute(f"SET LOCAL lock_timeout = '{GLANCE}'", params=None)
                act()
        except OperationalError as error:
            if "lock timeout" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(1)
        else:
            return


def _alter(editor, statement):
    _briefly(editor, lambda: editor.execute(statement, params=None))

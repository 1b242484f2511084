"""Pools, limits, priorities, workers and leases: small tables. A maximum may be changed here; the rest is to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Field, Model
from django.forms import ModelForm
from django.http import HttpRequest

from jobs.admin.base import ReadOnlyAdmin
from jobs.models import Lease, Limit, Pool, Priority, Worker


class MaximumAdmin(ReadOnlyAdmin):
    """One column may be changed, and only that column is written: the others belong to running code."""

    editable: str

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.model._meta.fields if field.name != self.editable]

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: Any, **kwargs: Any) -> Any:
        """Refuse a negative number in the form: with the other columns left out, Django does not ask the constraint."""
        if db_field.name == self.editable:
            kwargs["min_value"] = 0
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool) -> None:
        """Write what was changed; the next admission, a second later at most, goes by it."""
        obj.save(update_fields=[name for name in form.changed_data if name == self.editable])


@admin.register(Pool)
class PoolAdmin(MaximumAdmin):
    editable = "max_concurrent"
    list_display = ("name", "max_concurrent", "paused_at", "paused_by", "pause_reason", "draining_at")
    fields = list_display


@admin.register(Limit)
class LimitAdmin(MaximumAdmin):
    editable = "size"
    list_display = ("name", "kind", "size", "pool", "task", "partition_by", "policy")
    fields = list_display


@admin.register(Priority)
class PriorityAdmin(ReadOnlyAdmin):
    list_display = ("name", "head_start")
    ordering = ("head_start",)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("hostname", "pid", "pools", "slots", "started_at", "beat_at", "fenced_at", "draining_at")
    ordering = ("-beat_at",)


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ("name", "label", "holder", "expires_at")

"""Limits: add, change and delete them while jobs run; shows the jobs in flight under each."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Field, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.control import limits
from jobs.core.conf import settings
from jobs.models import Limit, Pool
from jobs.monitoring import formatting, usage
from jobs.web.admin import gauges
from jobs.web.admin.base import OurAdmin

SUBJECT = ("kind", "pool", "task", "partition_by", "partition")
DECLARED_AGAIN = (
    "%s is declared in code: it comes back when a newly started process submits its task."
    " To remove it for good, leave its size empty."
)


class LimitList(ChangeList):
    """Each limit with the jobs in flight under it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        _attach(list(self.result_list))


@admin.register(Limit)
class LimitAdmin(OurAdmin):
    """A change holds from the next admission on. The subject of a limit declared in code cannot be changed here."""

    list_display = ("name", "subject", "kind", "sizes", "now", "weight", "policy")
    list_filter = ("kind",)
    search_fields = ("name", "task", "partition")
    sortable_by = ("name", "kind", "weight")
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name",)}),
        ("What it limits", {"fields": SUBJECT, "description": "An empty field matches everything."}),
        ("How much", {"fields": ("size", "period", "burst", "weight", "policy")}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LimitList

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> tuple[str, ...]:
        """The name; for limits declared in code and the system-wide limit, their subject too."""
        if obj is None:
            return ()
        if obj.is_system:
            return ("name", *SUBJECT, "period", "burst", "policy")
        return ("name", *SUBJECT) if obj.declared is not None else ("name",)

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: Any, **kwargs: Any) -> Any:
        """A choice of the existing pools."""
        if db_field.name != "pool":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        names = Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True)
        choices = [("", "all pools together"), *((name, name) for name in names)]
        return forms.ChoiceField(choices=choices, required=False, help_text=str(db_field.help_text))

    def save_model(self, request: HttpRequest, obj: Limit, form: ModelForm[Limit], change: bool) -> None:
        if change:
            limits.change_limit(obj, form.changed_data)
        else:
            limits.create_limit(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Limit | None = None) -> bool:
        """The system-wide limit cannot be deleted: admission needs its row."""
        return (obj is None or not obj.is_system) and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the system-wide limit as protected, with the reason; Django would say that a permission is missing."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        system = [
            f"{row}: it holds JOBS['MAX_CONCURRENT']. To lift it, leave its size empty."
            for row in objs
            if row.is_system
        ]
        lacking = set() if system and self.has_delete_permission(request) else lacking
        return deleted, counts, lacking, [*protected, *system]

    def delete_model(self, request: HttpRequest, obj: Limit) -> None:
        if obj.declared is not None:
            self.message_user(request, DECLARED_AGAIN % obj.name, messages.WARNING)
        limits.delete_limit(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Limit]) -> None:
        for limit in queryset:
            self.delete_model(request, limit)

    @admin.display(description="limits")
    def subject(self, limit: Limit) -> str:
        return formatting.subject(limit)

    @admin.display(description="size")
    def sizes(self, limit: Limit) -> str:
        return formatting.size(limit, limit.use.size)  # type: ignore[attr-defined]  # attached below

    @admin.display(description="now")
    def now(self, limit: Limit) -> SafeString:
        return gauges.limit(limit.use)  # type: ignore[attr-defined]  # attached below


def _attach(rows: list[Limit]) -> None:
    """Read the usage of all these limits at once, one snapshot a pool."""
    for use in usage.of_limits(rows):
        use.limit.use = use  # type: ignore[attr-defined]  # for the columns above

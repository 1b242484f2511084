"""Pools: their sizes, how full they are, and the actions pause, drain and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from jobs.control import pools
from jobs.core.conf import settings
from jobs.models import Pool
from jobs.monitoring import formatting, usage
from jobs.monitoring.usage import PoolUse
from jobs.web.access import who_and_why
from jobs.web.admin import gauges
from jobs.web.admin.base import OurAdmin

SIZES = ("max_concurrent", "max_memory_mb", "max_cpu_weight", "max_disk_mb", "resources")
RETRIES = ("max_retries", "retry_delay", "retry_multiplier", "retry_cap", "retry_jitter", "retry_deadline")
NOW = ("in_flight", "slots", "budgets", "waiting", "oldest_wait", "closed")
DONE = {"pause": "paused", "drain": "draining", "resume": "resumed"}


class PoolList(ChangeList):
    """Each pool with its usage now."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        _attach(list(self.result_list))


@admin.action(description="Pause selected pools…", permissions=["pause"])
def pause_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Pool]) -> HttpResponse | None:
    """Pause the pools; asks for a reason first."""
    return _closed(model_admin, request, queryset, "pause")


@admin.action(description="Drain selected pools…", permissions=["pause"])
def drain_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Pool]) -> HttpResponse | None:
    """Drain the pools; asks for a reason first."""
    return _closed(model_admin, request, queryset, "drain")


@admin.action(description="Resume selected pools", permissions=["pause"])
def resume_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
    """Resume the pools."""
    actor = request.user.get_username()
    _each(model_admin, request, queryset, "resume", lambda name: pools.resume(name, actor=actor))


@admin.register(Pool)
class PoolAdmin(OurAdmin):
    """A size holds from the next admission on. Only the actions pause, drain or resume a pool."""

    list_display = ("name", *NOW)
    sortable_by = ("name",)
    ordering = ("name",)
    actions = (pause_selected, drain_selected, resume_selected)
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "max_concurrent"),
                "description": "An empty field means no limit. Changes hold at once.",
            },
        ),
        (
            "Budgets for all its workers together",
            {"fields": ("max_memory_mb", "max_cpu_weight", "max_disk_mb", "resources")},
        ),
        (
            "Retries",
            {
                "fields": RETRIES,
                "description": "For jobs whose task sets no retries. An empty field takes the value from the settings.",
            },
        ),
        ("Now", {"fields": NOW}),
    )
    change_form_template = "admin/jobs/pool/change_form.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PoolList

    def get_fieldsets(self, request: HttpRequest, obj: Pool | None = None) -> Any:
        return self.fieldsets if obj is not None else self.fieldsets[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Pool | None = None) -> tuple[str, ...]:
        return NOW if obj is None else ("name", *NOW)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Pool | None:
        pool: Pool | None = super().get_object(request, object_id, from_field)
        _attach([pool] if pool is not None else [])
        return pool

    def save_model(self, request: HttpRequest, obj: Pool, form: ModelForm[Pool], change: bool) -> None:
        """Only what was changed: the other columns belong to running code, and to a person who pauses it now."""
        if change:
            pools.change(obj, [name for name in form.changed_data if name in SIZES + RETRIES])
        else:
            obj.save(using=settings.DATABASE, force_insert=True)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what keeps a pool from being deleted as protected: Django then shows it and offers no deletion."""
        deleted, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        ours = [f"{pool}: {obstacle}" for pool in objs for obstacle in pools.obstacles(pool.name)]
        return deleted, counts, perms_needed, [*protected, *ours]

    def delete_model(self, request: HttpRequest, obj: Pool) -> None:
        """Checked again under the pool's lock: an obstacle may be new."""
        obstacles = pools.delete(obj.name)
        if obstacles:
            raise PermissionDenied(f"{obj.name}: {' '.join(obstacles)}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        for pool in queryset:
            self.delete_model(request, pool)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whether this person is offered the actions."""
        return request.user.has_perm(f"{self.opts.app_label}.pause_pool")

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        context |= {"may_pause": self.has_pause_permission(request), "checkbox_name": ACTION_CHECKBOX_NAME}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="in flight / limit")
    def in_flight(self, pool: Pool) -> SafeString:
        return gauges.bar(_use(pool).in_flight)

    @admin.display(description="live slots")
    def slots(self, pool: Pool) -> str:
        return formatting.number(_use(pool).slots)

    @admin.display(description="budgets")
    def budgets(self, pool: Pool) -> SafeString:
        return gauges.budgets(list(_use(pool).budgets))

    @admin.display(description="waiting")
    def waiting(self, pool: Pool) -> str:
        return str(_use(pool).waiting.number)

    @admin.display(description="oldest wait")
    def oldest_wait(self, pool: Pool) -> str:
        seconds = _use(pool).oldest_wait
        return "–" if seconds is None else formatting.duration(seconds)

    @admin.display(description="paused or draining")
    def closed(self, pool: Pool) -> str:
        return formatting.closed(pool, _use(pool).now) or "–"


def _attach(rows: list[Pool]) -> None:
    """Read the usage of each of these pools once, for all columns."""
    for use in usage.of_pools(rows):
        use.pool.use = use  # type: ignore[attr-defined]  # for the columns above


def _use(pool: Pool) -> PoolUse:
    use: PoolUse = pool.use  # type: ignore[attr-defined]  # attached above
    return use


def _closed(model_admin: Any, request: HttpRequest, queryset: QuerySet[Pool], verb: str) -> HttpResponse | None:
    """Ask for a reason; on the second post act."""
    if request.POST.get("confirmed") != "yes":
        names = list(queryset.order_by("name").values_list("name", flat=True))
        context = {
            **model_admin.admin_site.each_context(request),
            "title": f"{verb.capitalize()} {', '.join(names)}?",
            "opts": model_admin.opts,
            "media": model_admin.media,
            "verb": verb,
            "names": names,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/jobs/pool/confirm.html", context)
    actor, reason = who_and_why(request)
    act = pools.pause if verb == "pause" else pools.drain
    _each(model_admin, request, queryset, verb, lambda name: act(name, reason=reason, actor=actor), reason)
    return None


def _each(
    model_admin: Any,
    request: HttpRequest,
    queryset: QuerySet[Pool],
    verb: str,
    act: Callable[[str], bool],
    reason: str = "",
) -> None:
    """Apply the action to each pool, write the admin's log, and report the result."""
    by_change: dict[bool, list[str]] = {True: [], False: []}
    for pool in queryset.order_by("name"):
        changed = act(pool.name)
        by_change[changed].append(pool.name)
        if changed:
            model_admin.log_change(request, pool, f"{DONE[verb].capitalize()}{f': {reason}' if reason else '.'}")
    if by_change[True]:
        model_admin.message_user(request, f"{DONE[verb].capitalize()}: {', '.join(by_change[True])}.", messages.SUCCESS)
    if by_change[False]:
        already = "Not paused" if verb == "resume" else f"Already {DONE[verb]}"
        model_admin.message_user(request, f"{already}: {', '.join(by_change[False])}.", messages.WARNING)

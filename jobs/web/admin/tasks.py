"""Paused tasks. Add a row to pause a task; resume it by the action."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.control import tasks
from jobs.exceptions import UnknownTask
from jobs.models import TaskPause
from jobs.web.admin.base import OurAdmin


class TaskPauseForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The task's name and a reason."""

    class Meta:
        model = TaskPause
        fields = ("task", "pause_reason")

    def clean_task(self) -> str:
        """A name that no worker and no job knows is mistyped."""
        task: str = self.cleaned_data["task"]
        try:
            tasks.must_exist(task)
        except UnknownTask as error:
            raise ValidationError(str(error)) from error
        return task


@admin.action(description="Resume selected tasks", permissions=["pause"])
def resume_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[TaskPause]) -> None:
    """Resume the tasks."""
    actor, resumed = request.user.get_username(), []
    for row in queryset.order_by("task"):
        if tasks.resume(row.task, actor=actor):
            model_admin.log_change(request, row, "Resumed.")
            resumed.append(row.task)
    if resumed:
        model_admin.message_user(request, f"Resumed: {', '.join(resumed)}.", messages.SUCCESS)


@admin.register(TaskPause)
class TaskPauseAdmin(OurAdmin):
    """A row is a pause: nothing of the task is admitted, in any pool, while it is there."""

    form = TaskPauseForm
    list_display = ("task", "paused_at", "paused_by", "pause_reason")
    ordering = ("task",)
    actions = (resume_selected,)

    def save_model(self, request: HttpRequest, obj: TaskPause, form: Any, change: bool) -> None:
        """Pause it, with what is queued of it."""
        tasks.pause(obj.task, reason=obj.pause_reason, actor=request.user.get_username())
        obj.refresh_from_db()

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whether this person may pause, and is offered the action."""
        return request.user.has_perm(f"{self.opts.app_label}.pause_task")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_pause_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: TaskPause | None = None) -> bool:
        return self.has_pause_permission(request) or super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: TaskPause | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: TaskPause | None = None) -> bool:
        return False

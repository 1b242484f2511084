"""Priorities: the setting gives the words; head starts are changed here, and waiting jobs get their new rank."""

from __future__ import annotations

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from jobs.control import limits
from jobs.models import Priority
from jobs.web.admin.base import OurAdmin


@admin.register(Priority)
class PriorityAdmin(OurAdmin):
    list_display = ("name", "head_start")
    fields = ("name", "head_start")
    readonly_fields = ("name",)
    ordering = ("head_start",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Priority | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Priority, form: ModelForm[Priority], change: bool) -> None:
        """Also without a change: saving again completes a re-ranking that was interrupted."""
        limits.set_head_start(obj)
        self.message_user(request, f"Waiting jobs of priority {obj.name} were re-ranked.")

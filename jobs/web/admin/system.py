"""Workers and leases, read-only: code writes these small tables."""

from __future__ import annotations

from django.contrib import admin

from jobs.models import Lease, Worker
from jobs.web.admin.base import ReadOnlyAdmin


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("hostname", "pid", "pools", "slots", "started_at", "beat_at", "fenced_at", "draining_at")
    ordering = ("-beat_at",)


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ("name", "label", "holder", "expires_at")

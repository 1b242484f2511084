"""The page that shows how full each pool is, for staff."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.core.conf import settings
from jobs.maintenance import counters
from jobs.models import Pool
from jobs.monitoring import formatting, usage
from jobs.monitoring.explain import worker_command
from jobs.monitoring.usage import PoolUse
from jobs.web.access import is_refresh, page, person
from jobs.web.pages import workers


@page
@require_safe
def pool_list(request: HttpRequest) -> HttpResponse:
    """Each pool: jobs in flight, waiting jobs, budgets, and by whom and why it was paused."""
    if not person(request).is_staff:
        raise PermissionDenied("Only staff may see the pools.")
    rows = Pool.objects.using(settings.DATABASE).order_by("name")
    context = {
        "pools": [_shown(use) for use in usage.of_pools(rows)],
        "worker_command": worker_command([workers.default_pool()]),
        "steward": formatting.figures(counters.figures()),
        "is_refresh": is_refresh(request),
    }
    return render(request, "jobs/pool_list.html", context)


def _shown(use: PoolUse) -> dict[str, Any]:
    return {
        "use": use,
        "closed": formatting.closed(use.pool, use.now),
        "worker_command": "" if use.slots else worker_command([use.pool.name]),
    }

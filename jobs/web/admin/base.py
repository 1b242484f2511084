"""Base classes of the admin. Rows that code writes are read-only; big tables are never counted or sorted as a whole."""

from __future__ import annotations

import functools
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.core.conf import settings
from jobs.monitoring.counting import CEILING


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts no further than the ceiling, so its last page costs little more than its first."""

    @functools.cached_property
    def count(self) -> int:
        """How many rows there are, or the ceiling."""
        return min(self._counted, CEILING)

    @property
    def has_more(self) -> bool:
        """Whether there are rows beyond the ceiling."""
        return self._counted > CEILING

    @functools.cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: CEILING + 1].count())


class OurAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Rows of the database that holds the jobs."""

    class Media:
        css = {"all": ("jobs/admin.css",)}  # noqa: RUF012  # Django's own shape

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(settings.DATABASE)


class ReadOnlyAdmin(OurAdmin):
    """No one adds, changes or deletes rows here; with the view permission everything can be read."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OneOrderList(ChangeList):
    """A list in the order of an index. Ignores `?o=`, which would sort the whole table."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return list(self.model_admin.get_ordering(request))


class BigTableAdmin(ReadOnlyAdmin):
    """For tables of millions of rows: the order of an index, no totals, no facets, no other conditions."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 50
    list_max_show_all = 0

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OneOrderList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Only the filters: any other condition in the address might read the whole table."""
        return any(getattr(filter_class, "parameter_name", None) == lookup for filter_class in self.list_filter)

"""Pages (filled by the doors)."""

from django.urls.resolvers import URLPattern

app_name = "jobs"
urlpatterns: list[URLPattern] = []

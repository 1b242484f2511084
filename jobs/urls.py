"""The addresses of the pages: `path("jobs/", include("jobs.urls"))`. They are served by the app `jobs.web`."""

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import path

if not apps.is_installed("jobs.web"):
    raise ImproperlyConfigured('jobs.urls needs "jobs.web" in INSTALLED_APPS, beside "jobs".')

from jobs.web import pages

app_name = "jobs"
urlpatterns = [
    path("", pages.job_list, name="job-list"),
    path("pools/", pages.pool_list, name="pool-list"),
    path("<uuid:job_id>/", pages.job_detail, name="job-detail"),
    path("<uuid:job_id>/image/", pages.job_image, name="job-image"),
    path("<uuid:job_id>/cancel/", pages.job_cancel, name="job-cancel"),
    path("<uuid:job_id>/pause/", pages.job_pause, name="job-pause"),
    path("<uuid:job_id>/resume/", pages.job_resume, name="job-resume"),
    path("<uuid:job_id>/retry/", pages.job_retry, name="job-retry"),
]

"""`"jobs.web"` in INSTALLED_APPS."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """Pages, admin, templates and static files. Has no tables."""

    name = "jobs.web"
    label = "jobs_web"
    verbose_name = "Jobs"

"""The app's configuration: connects, and touches neither database nor broker."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class JobsConfig(AppConfig):
    """`"jobs"` in INSTALLED_APPS."""

    name = "jobs"
    label = "jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks, follow failures and transitions, listen to the worker: possible once models are there."""
        import_module("jobs.core.conf.checks")
        import_module("jobs.workflows.fallbacks")
        import_module("jobs.worker").connect()
        import_module("jobs.monitoring.logs").connect()
        post_migrate.connect(_seed, sender=self, weak=False, dispatch_uid="jobs.seed")


def _seed(using: str, apps: Any = apps, **_: Any) -> None:
    """The tables are there, or were emptied: put in what must exist, and forget what was known of them."""
    import_module("jobs.models.collations").convert(using)
    import_module("jobs.models.seeds").seed(using, apps)
    import_module("jobs.control.pools").forget()
    import_module("jobs.admission.limits.declared").forget()

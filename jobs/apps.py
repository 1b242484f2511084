"""The app's configuration: connects, and touches neither database nor broker."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class JobsConfig(AppConfig):
    """`"jobs"` in INSTALLED_APPS."""

    name = "jobs"
    label = "jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from jobs import checks, logs, worker  # noqa: F401, PLC0415 - models must be loaded first
        from jobs.models.seeds import seed  # noqa: PLC0415

        worker.connect()
        logs.connect()
        post_migrate.connect(_seeder(seed), sender=self, weak=False, dispatch_uid="jobs.seed")


def _seeder(seed: Any) -> Any:
    def receiver(using: str, **_: Any) -> None:
        seed(using)

    return receiver

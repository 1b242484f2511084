"""The project as a Django app: it only brings the checks of its own settings."""

from django.apps import AppConfig
from django.core import checks

from jobcenter.checks import check_store


class JobcenterConfig(AppConfig):
    name = "jobcenter"

    def ready(self) -> None:
        checks.register(check_store, "jobcenter")

"""Checks of the project's own settings: where jobs are kept must be said once, or the same thing twice."""

import os
from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error

from jobcenter.environment import store_conflicts


def check_store(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """One error for each contradiction between JOB_STORE_TYPE, JOB_STORE_PATH and DATABASE_URL (which wins)."""
    return [
        Error(
            conflict,
            hint="DATABASE_URL wins. Unset JOB_STORE_TYPE and JOB_STORE_PATH, or make them name the same database.",
            id="jobcenter.E001",
        )
        for conflict in store_conflicts(os.environ, settings.BASE_DIR)
    ]

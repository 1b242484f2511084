"""The test jobs as a Django app, so that workers find its `tasks`."""

import os

from django.apps import AppConfig

from tests import mutations
from tests.app import points


class TestAppConfig(AppConfig):
    name = "tests.app"
    label = "testapp"

    def ready(self) -> None:
        if mutation := os.environ.get(mutations.VARIABLE):
            mutations.apply(mutation)
        points.install()

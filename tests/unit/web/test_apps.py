"""The second app: without it there are no pages, and whoever includes their addresses is told the missing line."""

import importlib

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from jobs import urls
from jobs.core.conf import checks

WITHOUT_WEB = override_settings(INSTALLED_APPS=[app for app in settings.INSTALLED_APPS if app != "jobs.web"])


def test_the_addresses_name_the_app_that_is_missing() -> None:
    with WITHOUT_WEB, pytest.raises(ImproperlyConfigured, match=r'"jobs\.web" in INSTALLED_APPS'):
        importlib.reload(urls)


def test_a_host_with_an_admin_is_told_what_shows_jobs_in_it() -> None:
    assert checks.check_web() == []
    with WITHOUT_WEB:
        (hint,) = checks.check_web()
    assert hint.id == "jobs.I001"
    assert "jobs.web" in str(hint.hint)


def test_a_host_without_an_admin_hears_nothing() -> None:
    bare = [app for app in settings.INSTALLED_APPS if app not in ("jobs.web", "django.contrib.admin")]
    with override_settings(INSTALLED_APPS=bare):
        assert checks.check_web() == []

"""The project around the app `jobs`: settings, URLs, the Celery application, the demo.

Importing it makes the Celery application known, so that every task of the process binds to it.
"""

from jobcenter.celery import app as celery_app

__all__ = ["celery_app"]

"""One Celery app per system under test, as its worker loads it. Nothing here measures."""

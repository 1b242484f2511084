"""Pages, admin and HTTP API: a Django app of its own, `"jobs.web"`."""

"""Every SELECT that decides something, and every lock. Indexes are named after the query they serve."""

from jobs.querysets.dialect import bound_now, db_now

__all__ = ["bound_now", "db_now"]

"""Every SELECT that decides something, and every lock. Indexes are named after the query they serve."""

from jobs.core.db.dialects import DbNow, bound_now, db_now

__all__ = ["DbNow", "bound_now", "db_now"]

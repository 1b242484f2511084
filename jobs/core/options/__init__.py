"""What may be said with `@job(...)` and at submit, checked in one place."""

"""SQL that the ORM cannot write: running it, its dialects, the database's clock, and column values."""

"""A million rows: what migrations and retention do to those who work meanwhile, on a private PostgreSQL.

`python -m tests.large --rows 1000000` fills the tables as the first migration made them, migrates forward, and prunes
it all, with somebody reading and writing beside it. It prints who had to wait for how long, and what memory it took.
"""

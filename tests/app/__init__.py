"""Jobs that only tests run. Workers load it because `tests/settings*.py` install it."""

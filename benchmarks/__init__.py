"""The benchmark: this platform beside plain Celery and django-celery-results, interleaved on one machine.

`python -m benchmarks --help`. Nothing in `jobs/` may import from here.
"""

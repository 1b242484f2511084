"""The Python API: `job_manager`, `@job`, handles."""

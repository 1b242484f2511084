"""What one admission costs as more jobs wait, and as they wait in more lanes: `python -m benchmarks.scaling --help`."""

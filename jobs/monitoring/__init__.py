"""What is going on, read-only: why a job waits, how full pools are, metrics, health."""

"""What people do: cancel, pause, retry, reprioritise, delete; to jobs, tasks, pools and limits."""

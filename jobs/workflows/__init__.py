"""Jobs made of jobs: chunks, workflows, schedules, fallbacks."""

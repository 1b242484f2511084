"""Real sample work for the demo; nothing of the app `jobs` depends on it."""

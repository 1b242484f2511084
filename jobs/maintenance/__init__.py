"""What time or death causes, done by one elected process, the steward."""

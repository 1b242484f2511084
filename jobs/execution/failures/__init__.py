"""What an exception means, and whether another attempt helps."""

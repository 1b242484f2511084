"""What an attempt uses: processor time, memory, disk."""

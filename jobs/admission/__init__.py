"""From pending to the broker: which jobs may start, in which order, within which limits, and the message about it."""

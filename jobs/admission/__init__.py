"""From pending to the broker: what may go, in which order, within which limits, and the message about it."""

"""Training, and how fast it went."""

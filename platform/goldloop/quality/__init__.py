"""What the labels are worth."""

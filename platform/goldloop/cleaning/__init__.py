"""What a recipe leaves out of its sources on the way in, and what it takes out of texts."""

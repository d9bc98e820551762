"""Whether what comes now is like what the champion was made for, and how good it is on it without labels."""

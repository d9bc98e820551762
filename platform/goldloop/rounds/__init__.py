"""Rounds of the loop: when one is to begin."""

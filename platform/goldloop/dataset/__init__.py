"""Immutable, certified dataset versions."""

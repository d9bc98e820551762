"""Runs, models and their aliases, kept in MLflow."""

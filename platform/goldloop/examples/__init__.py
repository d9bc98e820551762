"""Example data that goldloop can write anywhere without a download, and the quickstart that uses it."""

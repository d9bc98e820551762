"""The catalog: what goldloop knows, in SQL. SQLite in the workspace by default, PostgreSQL by URL."""

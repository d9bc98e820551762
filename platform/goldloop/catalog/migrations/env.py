"""What Alembic runs: migrate over the connection that `upgrade` hands it."""

from __future__ import annotations

from alembic import context

from goldloop.catalog.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

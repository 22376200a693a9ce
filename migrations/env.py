"""Runs the journal's migrations on the connection, and in the transaction, that `orchestrator.journal.schema` gives."""

from alembic import context

from orchestrator.journal.exclusion import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

"""What Alembic runs to find the database: the connection is given, and so is its transaction."""

from alembic import context

from headrace.accounts.database.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

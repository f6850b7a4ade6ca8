"""The way from any earlier schema to the present one; Alembic runs it."""

"""Migrations of the catalogue, run by alembic."""

"""Brings a catalogue's schema up to date, by alembic; a module of its own, for it is slow to load."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(path: Path) -> None:
    """Run the migrations that a database lacks, each in one transaction with its record."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    def pending(revision: object, _: MigrationContext) -> list[object]:
        return list(scripts._upgrade_revs("head", revision))  # type: ignore[arg-type]

    with engine.begin() as connection:
        context = MigrationContext.configure(
            connection, opts={"fn": pending, "transactional_ddl": True, "script": scripts}
        )
        with Operations.context(context):
            context.run_migrations()
    engine.dispose()

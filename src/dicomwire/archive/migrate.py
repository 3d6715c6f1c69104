"""Brings a catalogue's schema up to date, by alembic; a module of its own, for it is slow to load."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from dicomwire.errors import ArchiveError

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(path: Path, to: str = "head") -> None:
    """Run the migrations that a database lacks, all in one transaction with their record.

    to: the last revision to run.
    Raises: ArchiveError, when a newer dicomwire made the database.
    """
    scripts = _scripts()
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def own_transactions(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # the driver begins a transaction before a change of rows only, not before one of tables
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def pending(revision: object, _: MigrationContext) -> list[object]:
        return list(scripts._upgrade_revs(to, revision))  # type: ignore[arg-type]

    try:
        with engine.begin() as connection:
            context = MigrationContext.configure(
                connection, opts={"fn": pending, "transactional_ddl": True, "script": scripts}
            )
            with Operations.context(context):
                context.run_migrations()
    except CommandError as error:
        raise ArchiveError(f"{path}: made by a newer version of dicomwire ({error})") from None
    finally:
        engine.dispose()


def newest() -> str:
    """The last revision of the scripts."""
    return _scripts().get_current_head() or ""


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)

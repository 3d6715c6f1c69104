"""The two ways to the catalogue's schema: made new, and brought up to date by every migration."""

import sqlite3
from pathlib import Path

import pytest

from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.maintenance import migrate
from dicomwire.archive.migrate import newest, upgrade
from dicomwire.archive.schema import HEAD
from dicomwire.errors import ArchiveError
from tests.archive.test_archive import opened


def schema(path: Path) -> dict[str, object]:
    """Tables with their columns and keys, and indexes with theirs, as SQLite understands them."""
    connection = sqlite3.connect(path)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: dict[str, object] = {}
        for table in tables:
            indexes = connection.execute(
                'SELECT name, "unique", origin, partial FROM pragma_index_list(?) ORDER BY name', (table,)
            ).fetchall()
            found[table] = (
                connection.execute("SELECT * FROM pragma_table_xinfo(?)", (table,)).fetchall(),
                connection.execute("SELECT * FROM pragma_foreign_key_list(?)", (table,)).fetchall(),
                indexes,
                [
                    connection.execute("SELECT * FROM pragma_index_xinfo(?)", (index[0],)).fetchall()
                    for index in indexes
                ],
            )
        found["expressions"] = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type IN ('view', 'trigger')"
            " OR type = 'index' AND sql IS NOT NULL ORDER BY name"
        ).fetchall()
        found["stamp"] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return found
    finally:
        connection.close()


def test_every_migration_in_turn_gives_the_schema_of_a_new_catalogue(tmp_path: Path) -> None:
    CatalogueWriter(tmp_path / "new").close()
    sqlite3.connect(tmp_path / "migrated").close()
    upgrade(tmp_path / "migrated")
    assert schema(tmp_path / "migrated") == schema(tmp_path / "new")


def test_a_new_catalogue_is_stamped_with_the_last_revision(tmp_path: Path) -> None:
    CatalogueWriter(tmp_path / "new").close()
    assert newest() == HEAD
    assert schema(tmp_path / "new")["stamp"] == [(HEAD,)]


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(tmp_path: Path) -> None:
    CatalogueWriter(tmp_path / "new").close()
    before = schema(tmp_path / "new")
    upgrade(tmp_path / "new")
    assert schema(tmp_path / "new") == before


def test_migrate_tells_where_from_and_where_to(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    sqlite3.connect(path).close()
    upgrade(path, to="0001")
    assert migrate(tmp_path) == ("0001", HEAD)
    assert migrate(tmp_path) == (HEAD, HEAD)
    CatalogueWriter(tmp_path / "new").close()
    assert schema(path) == schema(tmp_path / "new")


async def test_migrate_leaves_the_archive_of_a_running_node_alone(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    with pytest.raises(ArchiveError, match="in use"):
        migrate(tmp_path)
    await archive.stop()


def test_migrate_needs_an_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no archive"):
        migrate(tmp_path)


def test_a_catalogue_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new"
    CatalogueWriter(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ArchiveError, match="newer version"):
        CatalogueWriter(path)
    assert schema(path)["stamp"] == [("9999",)]

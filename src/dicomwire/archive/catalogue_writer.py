"""The catalogue's writing side: one connection, the committer's.

Rows and the durable end of a segment change in one transaction.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from dicomwire.archive.catalogue import STORED, Catalogue, Connection, Row, path_id
from dicomwire.archive.entry import INSTANCE_COLUMNS, Entry
from dicomwire.archive.schema import HEAD, STAMP, STATEMENTS
from dicomwire.archive.values import Stored

_INSERT_INSTANCES: Final = f"INSERT INTO instance ({', '.join(INSTANCE_COLUMNS)}) VALUES"
_INSTANCE_MARKS: Final = f"({', '.join('?' * len(INSTANCE_COLUMNS))})"
_ROWS_AT_ONCE: Final = 64  # of one INSERT: 1,216 parameters, below every SQLite's limit
_REMEMBERED: Final = 4096

_Key = TypeVar("_Key")


class CatalogueWriter(Catalogue):
    """The index of one archive, as it is changed and as its one writer sees it; one thread at a time.

    Attributes:
        remembers_removed: what is removed is told from what was never there.
    """

    def __init__(self, path: Path) -> None:
        """Open a database, made when missing and brought to the newest schema. Raises: DatabaseError."""
        super().__init__(path)
        self.remembers_removed = True
        self._studies: dict[str, int] = {}
        self._series: dict[tuple[int, str], int] = {}
        self._writer = self._connect()
        self._migrate()

    def _reader(self) -> Connection:
        return self._writer

    def _migrate(self) -> None:
        sql = "SELECT name FROM sqlite_master WHERE name IN ('alembic_version', 'study')"
        if not self._writer.execute(sql).fetchall():
            with self.transaction():
                for statement in (*STATEMENTS, *STAMP):
                    self._writer.execute(statement)
            return
        if self._writer.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,):
            return
        from dicomwire.archive.migrate import upgrade  # alembic takes half a second to load

        self._writer.close()
        upgrade(self.path)
        self._writer = self._connect()

    def close(self) -> None:
        """Give back everything; the write-ahead log goes into the database."""
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.disconnect()

    def versions(self, sop_instance_uid: str) -> list[Stored]:
        """All versions of an instance as the writer sees them, the current one first."""
        sql = f"{STORED} WHERE sop_instance_uid = ? ORDER BY current DESC, instance.id"
        return [Stored(*row) for row in self._writer.execute(sql, (sop_instance_uid,))]

    def known(self, sop_instance_uids: Sequence[str]) -> set[str]:
        """Those of which there is any version, as the writer sees it."""
        sql = (
            "SELECT sop_instance_uid FROM instance WHERE sop_instance_uid IN (SELECT value FROM json_each(?))"
        )
        return {row[0] for row in self._writer.execute(sql, (json.dumps(sop_instance_uids),))}

    def segment_of(self, record_id: int) -> int | None:
        """Where a record lies, as the writer sees it; None when it is not indexed."""
        sql = "SELECT segment FROM instance WHERE id = ?"
        found = self._writer.execute(sql, (record_id,)).fetchone()
        return found[0] if found else None

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All of what is written inside, or nothing.

        durable: what was committed is on the disk afterwards; else a crash may undo it, for recovery to redo.
        """
        if durable:
            self._writer.execute("PRAGMA synchronous = FULL")
            try:
                with self.transaction():
                    yield
            finally:
                self._writer.execute("PRAGMA synchronous = NORMAL")
            return
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            self._studies.clear()
            self._series.clear()
            raise

    def reached(self, segment: int, name: str, durable: int) -> None:
        """A segment's records are known up to `durable`."""
        self._writer.execute(
            "INSERT INTO segment (id, name, durable) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET durable = excluded.durable",
            (segment, name, durable),
        )

    def add(self, entries: Iterable[tuple[Entry, int]]) -> None:
        """Index instances, each with 1 when it is the current version and 0 when it is a conflict."""
        rows, studies, series = [], Counter[int](), Counter[int]()
        for entry, current in entries:
            study = self._study(entry)
            one = self._series_of(study, entry)
            rows.append(entry.instance_row(one, current))
            studies[study] += current
            series[one] += current
        appearing = self._empty(series)
        self._insert_instances(rows)
        self._count("study", studies)
        self._count("series", series)
        for study in appearing:
            self._summarize(study)

    def _empty(self, series: Iterable[int]) -> set[int]:
        """The studies of those series that have no current instance, or none yet."""
        sql = "SELECT study FROM series WHERE id = ? AND number_of_instances = 0"
        return {row[0] for one in series for row in self._writer.execute(sql, (one,))}

    def recover(self, entry: Entry) -> None:
        """Index an instance in whatever order it is found: of several versions the oldest is current."""
        sql = (
            "SELECT instance.id, series, study FROM instance JOIN series ON series.id = instance.series"
            " WHERE sop_instance_uid = ? AND current = 1"
        )
        found = self._writer.execute(sql, (entry.sop_instance_uid,)).fetchone()
        if found is not None and found[0] > entry.record_id:
            self._writer.execute("UPDATE instance SET current = 0 WHERE id = ?", (found[0],))
            self._count("series", Counter({found[1]: -1}))
            self._count("study", Counter({found[2]: -1}))
            self._summarize(found[2])
            found = None
        self.add([(entry, int(found is None))])

    def remove(self, record_id: int) -> None:
        """Forget one version; the oldest one left becomes the current one."""
        found = self._writer.execute(
            "SELECT sop_instance_uid, current, series, study, series_instance_uid, study_instance_uid"
            " FROM instance JOIN series ON series.id = series JOIN study ON study.id = study"
            " WHERE instance.id = ?",
            (record_id,),
        ).fetchone()
        if found is None:
            return
        uid, current, series, study, series_uid, study_uid = found
        if self.remembers_removed:
            paths = ((study_uid,), (study_uid, series_uid), (study_uid, series_uid, uid))
            rows = [(path_id(path),) for path in paths]
            self._writer.executemany("INSERT OR IGNORE INTO removed VALUES (?)", rows)
        self._writer.execute("DELETE FROM instance WHERE id = ?", (record_id,))
        if current:
            self._count("series", Counter({series: -1}))
            self._count("study", Counter({study: -1}))
            heir = self._writer.execute(
                "SELECT instance.id, series, study FROM instance JOIN series ON series.id = series"
                " WHERE sop_instance_uid = ? ORDER BY instance.id LIMIT 1",
                (uid,),
            ).fetchone()
            if heir is not None:
                self._writer.execute("UPDATE instance SET current = 1 WHERE id = ?", (heir[0],))
                self._count("series", Counter({heir[1]: 1}))
                self._count("study", Counter({heir[2]: 1}))
                self._summarize(heir[2])
        self._sweep(series, study)

    def move(self, record_id: int, segment: int, offset: int) -> None:
        """A record lies elsewhere now."""
        self._writer.execute(
            "UPDATE instance SET segment = ?, offset = ? WHERE id = ?", (segment, offset, record_id)
        )

    def forget_segment(self, segment: int) -> None:
        self._writer.execute("DELETE FROM segment WHERE id = ?", (segment,))

    def clear(self) -> None:
        """Forget everything that the segments can tell; what was removed they may not tell any more."""
        for table in ("instance", "series", "study", "segment"):
            self._writer.execute(f"DELETE FROM {table}")
        self._studies.clear()
        self._series.clear()

    def in_segment(self, segment: int) -> list[Stored]:
        """What lives in a segment, as the writer sees it."""
        sql = f"{STORED} WHERE segment = ? ORDER BY offset"
        return [Stored(*row) for row in self._writer.execute(sql, (segment,))]

    def _insert_instances(self, rows: Sequence[Row]) -> None:
        """As few statements as there are powers of two in their number: each lets go of the interpreter."""
        while rows:
            count = min(1 << (len(rows).bit_length() - 1), _ROWS_AT_ONCE)
            marks = ", ".join([_INSTANCE_MARKS] * count)
            values = [value for row in rows[:count] for value in row]
            self._writer.execute(f"{_INSERT_INSTANCES} {marks}", values)
            rows = rows[count:]

    def _count(self, table: str, counts: Counter[int]) -> None:
        sql = f"UPDATE {table} SET number_of_instances = number_of_instances + ? WHERE id = ?"
        self._writer.executemany(sql, [(count, key) for key, count in counts.items() if count])

    def _study(self, entry: Entry) -> int:
        key = self._studies.get(entry.study_instance_uid)
        if key is None:
            key = self._find("study", "study_instance_uid = ?", (entry.study_instance_uid,))
            if key is None:
                row = {**entry.study_row(), "number_of_series": 0, "number_of_instances": 0}
                row["study_instance_uid"] = entry.study_instance_uid
                key = self._insert("study", row)
            _remember(self._studies, entry.study_instance_uid, key)
        return key

    def _series_of(self, study: int, entry: Entry) -> int:
        name = (study, entry.series_instance_uid)
        key = self._series.get(name)
        if key is None:
            key = self._find("series", "study = ? AND series_instance_uid = ?", name)
            if key is None:
                row = {**entry.series_row(), "study": study, "number_of_instances": 0}
                row["series_instance_uid"] = entry.series_instance_uid
                key = self._insert("series", row)
            _remember(self._series, name, key)
        return key

    def _summarize(self, study: int) -> None:
        """A study's number of series and its modalities; series of nothing but conflicts do not count."""
        found = self._writer.execute(
            "SELECT modality FROM series WHERE study = ? AND number_of_instances > 0 ORDER BY id", (study,)
        ).fetchall()
        modalities = "\\".join(dict.fromkeys(modality for (modality,) in found if modality))
        self._writer.execute(
            "UPDATE study SET number_of_series = ?, modalities = ? WHERE id = ?",
            (len(found), modalities, study),
        )

    def _sweep(self, series: int, study: int) -> None:
        """Drop a series and a study that nothing refers to any more."""
        self._writer.execute(
            "DELETE FROM series WHERE id = ? AND NOT EXISTS (SELECT 1 FROM instance WHERE series = ?)",
            (series, series),
        )
        self._writer.execute(
            "DELETE FROM study WHERE id = ? AND NOT EXISTS (SELECT 1 FROM series WHERE study = ?)",
            (study, study),
        )
        self._summarize(study)
        self._studies.clear()
        self._series.clear()

    def _find(self, table: str, where: str, parameters: Row) -> int | None:
        found = self._writer.execute(f"SELECT id FROM {table} WHERE {where}", parameters).fetchone()
        return found[0] if found else None

    def _insert(self, table: str, row: dict[str, object]) -> int:
        marks = ", ".join("?" * len(row))
        cursor = self._writer.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values())
        )
        return int(cursor.lastrowid or 0)


def _remember(known: dict[_Key, int], key: _Key, value: int) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value

"""The catalogue: what the segments hold, in SQLite; derived, so it can always be made again from them.

One connection writes, the committer's; others read. Rows and the durable end of a segment change in one
transaction. No read stays open across an await.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias, TypeVar

from dicomwire.archive.entry import INSTANCE_COLUMNS, Entry
from dicomwire.archive.functions import AttributesOf, add_functions
from dicomwire.archive.schema import HEAD, STAMP, STATEMENTS
from dicomwire.archive.values import Stats, Stored
from dicomwire.errors import ArchiveError

try:
    import pysqlite3 as sqlite
except ImportError:  # no wheel for this platform: the interpreter's own, which then must serve alone
    import sqlite3 as sqlite

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA cache_size = -16384",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA temp_store = MEMORY",
)
_INSERT_INSTANCES: Final = f"INSERT INTO instance ({', '.join(INSTANCE_COLUMNS)}) VALUES"
_INSTANCE_MARKS: Final = f"({', '.join('?' * len(INSTANCE_COLUMNS))})"
_ROWS_AT_ONCE: Final = 64  # of one INSERT: 1,216 parameters, below every SQLite's limit
_STORED: Final = (
    "SELECT instance.id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,"
    " transfer_syntax_uid, length, data_set_offset, segment, offset, rows, columns, bits_allocated,"
    " samples_per_pixel, coalesce(number_of_frames, 1), pixel_data_offset, pixel_data_length, crc"
    " FROM instance JOIN series ON series.id = instance.series JOIN study ON study.id = series.study"
)
# The same beginning with the instance: left to itself SQLite reads the whole series to find one
_STORED_BY_UID: Final = _STORED.replace(" JOIN ", " CROSS JOIN ")
_ORDER: Final = " ORDER BY study.id, series_number, series.id, instance_number, instance.id"

Row: TypeAlias = tuple[object, ...]
Read: TypeAlias = Callable[[str, Sequence[object]], list[Row]]
"""Runs one SELECT with its parameters."""

DatabaseError = sqlite.Error
_STEPS: Final = 5_000  # steps of a statement between two looks at the clock, a tenth of a millisecond


class Interrupted(Exception):
    """A reading took longer than it may, or is no longer wanted."""


class Catalogue:
    """The index of one archive.

    Attributes:
        attributes_of: reads what the index does not hold of an instance from its data set.
        remembers_removed: what is removed is told from what was never there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = self._connect()
        self._local = threading.local()
        self._readers: list[sqlite.Connection] = []  # of all threads
        self.attributes_of: AttributesOf = lambda record_id: ""
        self.remembers_removed = True
        self._studies: dict[str, int] = {}
        self._series: dict[tuple[int, str], int] = {}
        self._migrate()

    def _connect(self) -> sqlite.Connection:
        connection = sqlite.connect(str(self._path), isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection

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
        upgrade(self._path)
        self._writer = self._connect()

    def close(self) -> None:
        """Give back everything; the write-ahead log goes into the database."""
        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.disconnect()

    def disconnect(self) -> None:
        """Leave the database as it is, for a node may be running on it; no thread reads any more."""
        for connection in (*self._readers, self._writer):
            connection.close()

    # reading

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """What a statement finds, read in the calling thread."""
        found: list[Row] = self._reader().execute(sql, parameters).fetchall()
        return found

    @contextmanager
    def reading(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> Iterator[Read]:
        """Read in the calling thread, all of it at one state of the catalogue.

        seconds: how long it may take.
        Raises: Interrupted, when it takes longer, or `stop` says so.
        """
        connection, due = self._reader(), monotonic() + seconds

        def over() -> bool:
            return monotonic() > due or stop()

        def read(sql: str, parameters: Sequence[object]) -> list[Row]:
            if over():
                raise Interrupted
            found: list[Row] = connection.execute(sql, parameters).fetchall()
            return found

        connection.set_progress_handler(over, _STEPS)
        try:
            connection.execute("BEGIN")
            yield read
        except sqlite.OperationalError as error:
            if str(error) != "interrupted":
                raise
            raise Interrupted from None
        finally:
            connection.set_progress_handler(None, 0)
            if connection.in_transaction:
                connection.execute("COMMIT")

    def _reader(self) -> sqlite.Connection:
        """The calling thread's connection."""
        connection: sqlite.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._readers.append(connection)
            add_functions(connection, lambda record_id: self.attributes_of(record_id))
        return connection

    def plan(
        self, *, study: str | None, series: str | None, instance: str | None, every_version: bool = False
    ) -> list[Stored]:
        """The instances of a study, a series or one instance, in the order of their numbers.

        every_version: conflicting versions too, not only the current ones.
        """
        wanted = {"study_instance_uid": study, "series_instance_uid": series, "sop_instance_uid": instance}
        values = {column: [uid] for column, uid in wanted.items() if uid is not None}
        return self._selected(values, "" if every_version else "current = 1")

    def select(self, limit: int, **wanted: Sequence[str]) -> list[Stored]:
        """The current instances with one of the values of each list that is not empty, ordered as a plan."""
        asked = {column: values for column, values in wanted.items() if values}
        return self._selected(asked, "current = 1", limit)

    def _selected(
        self, wanted: Mapping[str, Sequence[str]], condition: str, limit: int | None = None
    ) -> list[Stored]:
        conditions = [condition] if condition else []
        for column, values in wanted.items():
            one = len(values) == 1
            conditions.append(f"{column} = ?" if one else f"{column} IN (SELECT value FROM json_each(?))")
        parameters = [values[0] if len(values) == 1 else json.dumps(values) for values in wanted.values()]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        stored = _STORED_BY_UID if "sop_instance_uid" in wanted else _STORED
        limited = f" LIMIT {limit:d}" if limit is not None else ""
        shared: dict[object, object] = {}

        def share(text: object) -> object:  # a plan of many instances names few series
            return shared.setdefault(text, text)

        return [
            Stored(row[0], share(row[1]), share(row[2]), row[3], share(row[4]), share(row[5]), *row[6:])  # type: ignore[arg-type]
            for row in self.rows(f"{stored}{where}{_ORDER}{limited}", parameters)
        ]

    def page(self, after: int, limit: int) -> list[Stored]:
        """Every version of every instance, by record id, from behind `after` on."""
        sql = f"{_STORED} WHERE instance.id > ? ORDER BY instance.id LIMIT ?"
        return [Stored(*row) for row in self.rows(sql, (after, limit))]  # type: ignore[arg-type]

    def versions(self, sop_instance_uid: str) -> list[Stored]:
        """All versions of an instance as the writer sees them, the current one first."""
        sql = f"{_STORED} WHERE sop_instance_uid = ? ORDER BY current DESC, instance.id"
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

    def stored(self, record_id: int) -> Stored | None:
        found = self.rows(f"{_STORED} WHERE instance.id = ?", (record_id,))
        return Stored(*found[0]) if found else None  # type: ignore[arg-type]

    def segments(self) -> dict[int, int]:
        """Durable end of each segment that the catalogue knows."""
        return dict(self._writer.execute("SELECT id, durable FROM segment"))

    def newest(self) -> int:
        """The highest record id."""
        found = self._writer.execute("SELECT max(id) FROM instance").fetchone()[0]
        return found or 0

    def was_removed(self, *uids: str) -> bool:
        """Whether something of a study, series or instance was removed; asked where nothing of it is here.

        uids: of the study, and of the series and the instance in it.
        """
        return bool(self.rows("SELECT 1 FROM removed WHERE id = ?", (_path_id(uids),)))

    def stats(self) -> Stats:
        one = self.rows(
            "SELECT (SELECT count(*) FROM study WHERE number_of_instances > 0),"
            " (SELECT count(*) FROM series WHERE number_of_instances > 0),"
            " (SELECT coalesce(sum(number_of_instances), 0) FROM study),"
            " (SELECT count(*) FROM instance WHERE current = 0), (SELECT count(*) FROM segment),"
            " (SELECT coalesce(sum(durable), 0) FROM segment),"
            " (SELECT coalesce(sum(length), 0) FROM instance)"
        )[0]
        return Stats(*one)  # type: ignore[arg-type]

    # writing: the committer's thread only

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
            rows = [(_path_id(path),) for path in paths]
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
        sql = f"{_STORED} WHERE segment = ? ORDER BY offset"
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


def revision(path: Path) -> str:
    """The last migration that a catalogue has been through; empty for none. Raises: ArchiveError."""
    try:
        with closing(sqlite.connect(str(path))) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except DatabaseError as error:
        raise ArchiveError(f"{path}: {error}") from None
    return str(found[0]) if found else ""


def _path_id(uids: Sequence[str]) -> int:
    """What stands for a path among those removed."""
    digest = blake2b("/".join(uids).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


_REMEMBERED: Final = 4096


_Key = TypeVar("_Key")


def _remember(known: dict[_Key, int], key: _Key, value: int) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value

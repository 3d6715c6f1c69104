"""The catalogue: what the segments hold, in SQLite; derived, so it can always be made again from them.

This is its reading side; `catalogue_writer` changes it. No read stays open across an await.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

from dicomwire.archive.functions import AttributesOf, add_functions
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
STORED: Final = (
    "SELECT instance.id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,"
    " transfer_syntax_uid, length, data_set_offset, segment, offset, rows, columns, bits_allocated,"
    " samples_per_pixel, max(coalesce(number_of_frames, 1), 1), pixel_data_offset, pixel_data_length, crc"
    " FROM instance JOIN series ON series.id = instance.series JOIN study ON study.id = series.study"
)
# The same beginning with the instance: left to itself SQLite reads the whole series to find one
_STORED_BY_UID: Final = STORED.replace(" JOIN ", " CROSS JOIN ")
_ORDER: Final = " ORDER BY study.id, series_number, series.id, instance_number, instance.id"

Row: TypeAlias = tuple[object, ...]
Read: TypeAlias = Callable[[str, Sequence[object]], list[Row]]
"""Runs one SELECT with its parameters."""

Connection: TypeAlias = sqlite.Connection
DatabaseError = sqlite.Error
_STEPS: Final = 5_000  # steps of a statement between two looks at the clock, a tenth of a millisecond


class Interrupted(Exception):
    """A reading took longer than it may, or is no longer wanted."""


class Catalogue:
    """The index of one archive, as it is read; from any thread.

    Attributes:
        path: of the database.
        attributes_of: reads what the index does not hold of an instance from its data set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attributes_of: AttributesOf = lambda record_id: ""
        self._local = threading.local()
        self._connections: list[Connection] = []  # of all threads

    def _connect(self) -> Connection:
        connection = sqlite.connect(str(self.path), isolation_level=None, check_same_thread=False)
        self._connections.append(connection)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        add_functions(connection, lambda record_id: self.attributes_of(record_id))
        return connection

    def disconnect(self) -> None:
        """Close all connections; no thread reads any more."""
        for connection in self._connections:
            connection.close()

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

    def _reader(self) -> Connection:
        """The calling thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
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
        stored = _STORED_BY_UID if "sop_instance_uid" in wanted else STORED
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
        sql = f"{STORED} WHERE instance.id > ? ORDER BY instance.id LIMIT ?"
        return [Stored(*row) for row in self.rows(sql, (after, limit))]  # type: ignore[arg-type]

    def stored(self, record_id: int) -> Stored | None:
        found = self.rows(f"{STORED} WHERE instance.id = ?", (record_id,))
        return Stored(*found[0]) if found else None  # type: ignore[arg-type]

    def segments(self) -> dict[int, int]:
        """Durable end of each segment that the catalogue knows."""
        return dict(self.rows("SELECT id, durable FROM segment"))  # type: ignore[arg-type]

    def newest(self) -> int:
        """The highest record id."""
        return self.rows("SELECT max(id) FROM instance")[0][0] or 0  # type: ignore[return-value]

    def was_removed(self, *uids: str) -> bool:
        """Whether something of a study, series or instance was removed; asked where nothing of it is here.

        uids: of the study, and of the series and the instance in it.
        """
        return bool(self.rows("SELECT 1 FROM removed WHERE id = ?", (path_id(uids),)))

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


def revision(path: Path) -> str:
    """The last migration that a catalogue has been through; empty for none. Raises: ArchiveError."""
    try:
        with closing(sqlite.connect(str(path))) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except DatabaseError as error:
        raise ArchiveError(f"{path}: {error}") from None
    return str(found[0]) if found else ""


def path_id(uids: Sequence[str]) -> int:
    """What stands for a path among those removed."""
    digest = blake2b("/".join(uids).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)

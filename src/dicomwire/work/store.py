"""The store of work: what no segment holds, in one SQLite database; durable before it is answered.

One thread writes. A change is a function that runs in the writer's transaction; all that wait when the commit
before is done share the next one (synchronous=FULL), and one call into the loop answers them all. A change
that raises leaves nothing behind and does not hurt its neighbours. Readers see committed changes only.
Rebuilding the archive's catalogue never touches it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import structlog

from dicomwire.archive.functions import add_matching_functions
from dicomwire.errors import WorkError
from dicomwire.work.schema import VERSIONS

try:
    import pysqlite3 as sqlite
except ImportError:  # no wheel for this platform
    import sqlite3 as sqlite

FILE: Final = "work.sqlite"

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA temp_store = MEMORY",
)
_BATCH: Final = 256  # changes of one commit, so that answers do not wait for a whole queue
_WAITING: Final = 4096  # changes that wait at once; beyond it `change` waits before it is one of them
_READERS: Final = 2  # threads of `read`

Parameter: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = tuple[object, ...]
Result = TypeVar("Result")
DatabaseError = sqlite.Error

log = structlog.get_logger()


class Reader(Protocol):
    """What rows can be read from: a change's transaction, or the store."""

    def rows(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        """What a statement finds."""


class Transaction:
    """What a change works with: the writer's connection within its transaction."""

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection
        self.topics: dict[str, None] = {}

    def rows(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        """Run a statement; what it finds or returns."""
        found: list[Row] = self._connection.execute(sql, parameters).fetchall()
        return found

    def row(self, sql: str, parameters: Sequence[Parameter] = ()) -> Row | None:
        """The first row that a statement finds."""
        found: Row | None = self._connection.execute(sql, parameters).fetchone()
        return found

    def count(self, sql: str, parameters: Sequence[Parameter] = ()) -> int:
        """Run a statement that changes rows; how many it changed."""
        changed: int = self._connection.execute(sql, parameters).rowcount
        return changed

    def notify(self, topic: str) -> None:
        """Have those who listen to a topic called once the change is durable."""
        self.topics[topic] = None


class _Change(Generic[Result]):
    """A change on its way: what to run, and who waits for it."""

    __slots__ = ("error", "finished", "future", "result", "run")

    def __init__(self, run: Callable[[Transaction], Result], future: asyncio.Future[Result] | None) -> None:
        self.run = run
        self.future = future
        self.finished = threading.Event() if future is None else None
        self.result: Result | None = None
        self.error: Exception | None = None

    def answer(self) -> None:
        """Tell who waits in the loop."""
        if self.future is None or self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]


class Store:
    """The store of work of one data folder.

    Several processes may have it open: the node, and commands that look at its jobs.
    """

    def __init__(self, path: Path) -> None:
        """Open a database, made when missing, and bring its schema up to date.

        Raises: WorkError, when it cannot be opened, is no database, or is of a newer version of the program.
        """
        self.path = path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Semaphore(_WAITING)
        self._queue: SimpleQueue[_Change[object] | None] = SimpleQueue()
        self._entrance = threading.Lock()  # nothing enters the queue behind the end
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._local = threading.local()
        self._readers: list[sqlite.Connection] = []  # of all threads
        try:
            self._writer = self._connect()
            _migrate(self._writer)
        except DatabaseError as error:
            raise WorkError(f"{path}: {error}") from None
        self._pool = ThreadPoolExecutor(_READERS, "work-reader")
        self._thread = threading.Thread(target=self._run, name="work-writer", daemon=True)
        self._thread.start()
        self._closed = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer changes in this loop from now on."""
        self._loop = loop

    async def stop(self) -> None:
        """Commit what waits, answer it, and close."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def close(self) -> None:
        """Commit what waits and close; blocking."""
        with self._entrance:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._pool.shutdown()
        with suppress(DatabaseError):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for connection in (*self._readers, self._writer):
            connection.close()

    # Changes

    async def change(self, run: Callable[[Transaction], Result]) -> Result:
        """Run a change in the writer's thread; back once it is durable.

        run: quick, and free of effects besides the database, for its transaction may come to nothing.
        Returns: what it returned. Raises: what it raised, nothing of it done; WorkError, when it could not be
            made durable.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        async with self._room:
            future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            self._submit(_Change(run, future))
            return await future

    def apply(self, run: Callable[[Transaction], Result]) -> Result:
        """`change` for callers without a loop; blocking."""
        change: _Change[Result] = _Change(run, None)
        self._submit(change)
        assert change.finished is not None
        change.finished.wait()
        if change.error is not None:
            raise change.error
        return change.result  # type: ignore[return-value]

    def _submit(self, change: _Change[Result]) -> None:
        with self._entrance:
            if self._closed:
                raise WorkError("the store of work is closed")
            self._queue.put(change)  # type: ignore[arg-type]

    def listen(self, topic: str, called: Callable[[], None]) -> None:
        """Have something called in the loop after each commit in which a change notified a topic."""
        self._listeners.setdefault(topic, []).append(called)

    # Reading

    def rows(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        """What a quick statement finds, read in the calling thread."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._readers.append(connection)
        found: list[Row] = connection.execute(sql, parameters).fetchall()
        return found

    async def read(self, sql: str, parameters: Sequence[Parameter] = ()) -> list[Row]:
        """What a statement that may take long finds, read in a thread of its own."""
        return await self.beside(lambda: self.rows(sql, parameters))

    async def beside(self, work: Callable[[], Result]) -> Result:
        """What is read by several statements, in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    # The writer's thread

    def _connect(self) -> sqlite.Connection:
        connection = sqlite.connect(str(self.path), isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        add_matching_functions(connection)
        return connection

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, ending = self._drain()
            if batch:
                self._commit(batch)

    def _drain(self) -> tuple[list[_Change[object]], bool]:
        """Wait for a change; it and all that wait with it, and whether the end has come."""
        batch: list[_Change[object]] = []
        change = self._queue.get()
        while change is not None:
            batch.append(change)
            if len(batch) == _BATCH:
                return batch, False
            try:
                change = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Change[object]]) -> None:
        """Make a batch durable; whatever fails, each change gets its answer."""
        topics: dict[str, None] = {}
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for change in batch:
                topics |= self._perform(change)
            self._writer.execute("COMMIT")
        except Exception as error:  # the boundary of the thread: whoever waits is told
            log.error("work.commit_failed", error=str(error), changes=len(batch))
            if self._writer.in_transaction:
                with suppress(DatabaseError):
                    self._writer.execute("ROLLBACK")
            for change in batch:
                change.error = change.error or WorkError(f"the store of work: {error}")
            topics = {}
        self._tell(batch, topics)

    def _perform(self, change: _Change[object]) -> dict[str, None]:
        """Run one change; the topics to notify. Raises: DatabaseError, when the whole transaction is lost."""
        transaction = Transaction(self._writer)
        self._writer.execute("SAVEPOINT change")
        try:
            change.result = change.run(transaction)
        except Exception as error:
            if not self._writer.in_transaction:  # a full disk, say, has rolled back the whole
                raise DatabaseError(str(error)) from error
            self._writer.execute("ROLLBACK TO change")
            self._writer.execute("RELEASE change")
            change.error = error
            return {}
        self._writer.execute("RELEASE change")
        return transaction.topics

    def _tell(self, batch: list[_Change[object]], topics: dict[str, None]) -> None:
        for change in batch:
            if change.finished is not None:
                change.finished.set()
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(self._answer, batch, topics)
        except RuntimeError:  # the loop closed in between: nobody is left to be told
            log.warning("work.unanswered", changes=len(batch))

    def _answer(self, batch: list[_Change[object]], topics: dict[str, None]) -> None:
        for change in batch:
            change.answer()
        for topic in topics:
            for called in self._listeners.get(topic, ()):
                try:
                    called()
                except Exception:
                    log.exception("work.listener_failed", topic=topic)


def open_store(data: Path) -> Store:
    """The store of work in a data folder. Raises: WorkError."""
    return Store(data / FILE)


def _migrate(connection: sqlite.Connection) -> None:
    """Run the versions that a database has not been through, each in one transaction with its number."""
    newest = len(VERSIONS)
    while (version := int(connection.execute("PRAGMA user_version").fetchone()[0])) != newest:
        if version > newest:
            raise WorkError(
                f"{FILE} is of version {version}, this program knows up to {newest}: update the program"
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] == version:
                for statement in VERSIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
        except DatabaseError:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

"""Searches: a query's matches page by page, quick ones in the event loop's thread, others beside it.

No read transaction is open between two pages, so a slow client holds nothing up and memory stays flat however
many matches there are. A page that turns out to take long is given up after a few milliseconds and read again
by a thread with a connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from dicomwire.archive.catalogue import Catalogue, Interrupted, Read, Row
from dicomwire.archive.matching import Parameter
from dicomwire.archive.statement import Plan
from dicomwire.errors import SearchError

FIRST_PAGE: Final = 16  # matches: the first ones are there at once
_PAGE: Final = 256
_READERS: Final = 2  # threads
_QUICK: Final = 0.004  # seconds that a page may take in the event loop's thread
_LONG: Final = 60.0  # seconds that a page may take at all
_PARENTS: Final = 512  # studies and series kept for the rows below them
_NOTHING: Final[Row] = ()

Result = TypeVar("Result")


class Found(NamedTuple):
    """One match: the values of the plan's fields, by table; () for tables below its level."""

    study: Row
    series: Row = _NOTHING
    instance: Row = _NOTHING


class Searches:
    """The searches of an archive."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._pool = ThreadPoolExecutor(_READERS, "search")
        self._closed = False

    def close(self) -> None:
        """Give up what is being read, and wait for that; blocking."""
        self._closed = True
        self._pool.shutdown()

    def pages(
        self, plan: Plan, cancelled: Callable[[], bool] = lambda: False, *, first: int = FIRST_PAGE
    ) -> Pages:
        """The matches of a plan, page by page.

        Args:
            cancelled: ends the reading of a page early.
            first: matches of the first page at most.
        """
        return Pages(self, plan, cancelled, first)

    def quick_total(self, plan: Plan, limit: int) -> int | None:
        """How many matches there are, `limit` where there are more; None where counting takes long."""
        return None if plan.slow else self.quick(lambda read: _total(plan, read, limit))

    async def total(self, plan: Plan, limit: int) -> int:
        """How many matches there are, `limit` where there are more; counted in a thread of its own.

        Raises: SearchError, when it takes more than a minute.
        """
        return await self.beside(lambda read: _total(plan, read, limit))

    async def total_within(self, plan: Plan, limit: int, seconds: float) -> int | None:
        """The same; None where it takes longer than some seconds."""
        end = time.monotonic() + seconds
        try:
            return await self.beside(lambda read: _total(plan, read, limit), lambda: time.monotonic() > end)
        except SearchError:
            return None

    def quick(self, work: Callable[[Read], Result]) -> Result | None:
        """What is found in this thread, None when it would take too long."""
        try:
            with self._catalogue.reading(_QUICK) as read:
                return work(read)
        except Interrupted:
            return None

    async def beside(
        self, work: Callable[[Read], Result], stop: Callable[[], bool] = lambda: False
    ) -> Result:
        """What is found in a thread of its own. Raises: SearchError, when that takes more than a minute."""

        def run() -> Result:
            with self._catalogue.reading(_LONG, lambda: self._closed or stop()) as read:
                return work(read)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except Interrupted:
            why = f"the search takes more than {_LONG:.0f} s; more or other keys wanted"
            raise SearchError("the archive is closed" if self._closed else why) from None


class Pages:
    """The matches of one search."""

    def __init__(self, searches: Searches, plan: Plan, cancelled: Callable[[], bool], first: int) -> None:
        self._searches = searches
        self._walk = Walk(plan)
        self._cancelled = cancelled
        self._size = first
        self._slow = plan.slow

    @property
    def finished(self) -> bool:
        """There are no more."""
        return self._walk.finished

    async def next(self) -> list[Found]:
        """The next page; empty only at the end, or when it was cancelled.

        Raises: SearchError, when it takes more than a minute.
        """
        size, self._size = self._size, _PAGE
        gone = False

        def read(run: Read) -> list[Found]:
            return self._walk.page(run, size)

        found = None if self._slow else self._searches.quick(read)
        if found is not None:
            return found
        self._slow = True
        try:
            return await self._searches.beside(read, lambda: gone or self._cancelled())
        except SearchError:
            if self._cancelled():
                return []
            raise
        finally:
            gone = True


class Walk:
    """How far the search of one plan is."""

    def __init__(self, plan: Plan) -> None:
        self.finished = plan.query.limit == 0
        self._plan = plan
        self._left = plan.query.limit
        self._offset = plan.query.offset
        self._branch = 0
        self._last: tuple[Parameter, ...] | None = None
        self._parents: dict[tuple[str, object], _Parent | None] = {}

    def page(self, read: Read, size: int) -> list[Found]:
        """The next matches, `size` at most; nothing has changed when it is interrupted."""
        branch, last, offset = self._branch, self._last, self._offset
        wanted = size if self._left is None else min(size, self._left)
        found: list[Found] = []
        while len(found) < wanted and branch < len(self._plan.branches):
            if offset and last is None and branch < len(self._plan.branches) - 1:
                sql, parameters = self._plan.count(branch)
                skipped = int(str(read(sql, (*parameters, offset))[0][0]))
                if skipped < offset:
                    branch, offset = branch + 1, offset - skipped
                    continue
            keys = len(self._plan.branches[branch].keys)
            exhausted = True
            for sql, parameters in self._plan.statements(branch, last):
                room = wanted - len(found)
                rows = read(sql, (*parameters, room, offset))
                offset = 0
                found += [each for row in rows if (each := self._found(read, row[keys:])) is not None]
                if rows:
                    last = rows[-1][:keys]  # type: ignore[assignment]
                if len(rows) == room:
                    exhausted = False
                    break
            if exhausted:
                branch, last = branch + 1, None
        self._branch, self._last, self._offset = branch, last, offset
        if self._left is not None:
            self._left -= len(found)
        self.finished = branch >= len(self._plan.branches) or self._left == 0
        return found

    def _found(self, read: Read, row: Row) -> Found | None:
        """A match; None when what it belongs to was removed since the row was read."""
        if "series" not in self._plan.fields:
            return Found(row)
        if "instance" not in self._plan.fields:
            study = self._parent(read, "study", row[0])
            return Found(study.row, row[1:]) if study else None
        series = self._parent(read, "series", row[0])
        study = self._parent(read, "study", series.key) if series else None
        return Found(study.row, series.row, row[1:]) if series and study else None

    def _parent(self, read: Read, table: str, key: object) -> _Parent | None:
        """The series or study of a row; the same object for all its rows, as far as it is kept."""
        name = (table, key)
        if name in self._parents:
            return self._parents[name]
        sql, parameters = self._plan.parent(table)
        rows = read(sql, (*parameters, key))
        found = _Parent(rows[0][0], rows[0][1:]) if rows else None
        if len(self._parents) >= _PARENTS:
            self._parents.clear()
        self._parents[name] = found
        return found


class _Parent(NamedTuple):
    """What a row belongs to: the key of what that belongs to, and the values of the plan's fields."""

    key: object
    row: Row


def _total(plan: Plan, read: Read, limit: int) -> int:
    found = 0
    for branch in range(len(plan.branches)):
        sql, parameters = plan.count(branch)
        found += int(str(read(sql, (*parameters, limit - found))[0][0]))
        if found >= limit:
            break
    return found

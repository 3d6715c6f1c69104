"""What of a remote archive is kept here for a while: an archive of its own, filled on request and bounded.

A study is brought once, however many ask for it at once, and is asked for again when what the remote archive
says it has is no longer what is here. The studies that nobody has used for longest go first.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol
from weakref import WeakValueDictionary

import structlog

from dicomwire.archive.archive import Archive, Stored
from dicomwire.errors import ArchiveError
from dicomwire.gateway.failures import RemoteFailed

_REMEMBERED: Final = 10_000  # studies and series whose last look at the remote archive is remembered

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Scope:
    """A study, a series of it or an instance of that, by UID."""

    study: str
    series: str | None = None
    instance: str | None = None


class Source(Protocol):
    """A remote archive."""

    async def count(self, scope: Scope) -> int | None:
        """Instances of a study or a series that it has; None where it does not say. Raises: RemoteFailed."""

    async def fetch(self, scope: Scope) -> int | None:
        """Bring a study or a series into the cache, all of it. Raises: RemoteFailed.

        Returns: how many instances it promised and did not send; None where it does not say.
        """


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """How much is kept and how long is waited.

    Attributes:
        size: bytes, beyond which studies go.
        fresh: seconds for which what was brought is not compared with the remote archive.
        timeout: seconds for bringing a study or a series.
        fetches: of different studies at once.
    """

    size: int = 10 << 30
    fresh: float = 60.0
    timeout: float = 600.0
    fetches: int = 4


class Cache:
    """An archive that is filled from a remote one."""

    def __init__(self, archive: Archive, source: Source, options: CacheOptions) -> None:
        self.archive = archive
        self._source = source
        self._options = options
        self._places = asyncio.Semaphore(options.fetches)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running: dict[Scope, asyncio.Task[None]] = {}
        self._waiting: dict[asyncio.Future[None], Scope] = {}
        self._fresh_until: dict[Scope, float] = {}
        self._used: dict[str, float] = {}
        self._pinned: Counter[str] = Counter()
        self._shrinking = asyncio.Lock()
        self._going: frozenset[str] = frozenset()  # studies that are being removed to make room
        self._gone = asyncio.Event()

    def start(self) -> None:
        """Serve in the running loop."""
        self.archive.start(asyncio.get_running_loop())
        self.archive.listen(self._arrived)

    async def stop(self) -> None:
        """End what is under way and close the archive."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.archive.stop()

    @asynccontextmanager
    async def holding(self, scope: Scope) -> AsyncIterator[None]:
        """Have a study, series or instance in the archive, if the remote one has it; it stays inside.

        Raises: RemoteFailed, when it could not be brought as a whole.
        """
        with self.using({scope.study}):
            await self._ensure(scope)
            yield

    @contextmanager
    def using(self, studies: Collection[str]) -> Iterator[None]:
        """These studies stay inside, however much there is."""
        self._pinned.update(studies)
        self._used |= dict.fromkeys(studies, time.monotonic())
        try:
            yield
        finally:
            self._pinned.subtract(studies)
            self._pinned = +self._pinned  # without those that nobody uses any more

    async def _ensure(self, scope: Scope) -> None:
        whole = Scope(scope.study, scope.series)  # an instance comes with the others of its series
        single = scope.instance is not None
        if self._has(scope) if single else self._is_fresh(whole):
            return
        task = self._running.get(whole)
        if task is None:
            task = asyncio.create_task(self._fill(whole))
            self._running[whole] = task
            task.add_done_callback(lambda ended: self._ended(whole, ended))
        if single:
            await self._arrival(scope, task)
            if self._has(scope):
                return
        await asyncio.shield(task)

    async def _arrival(self, scope: Scope, task: asyncio.Task[None]) -> None:
        """Wait for an instance, or for the end of what might bring it."""
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[arrival] = scope
        try:
            await asyncio.wait((arrival, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waiting[arrival]

    def _arrived(self) -> None:
        """Something has been stored."""
        for arrival, scope in self._waiting.items():
            if not arrival.done() and self._has(scope):
                arrival.set_result(None)

    def _has(self, scope: Scope) -> bool:
        return scope.study not in self._going and bool(self._plan(scope))

    def _plan(self, scope: Scope) -> list[Stored]:
        return self.archive.plan(study=scope.study, series=scope.series, instance=scope.instance)

    def _is_fresh(self, scope: Scope) -> bool:
        now = time.monotonic()
        return any(self._fresh_until.get(each, 0) > now for each in (scope, Scope(scope.study)))

    def _ended(self, scope: Scope, task: asyncio.Task[None]) -> None:
        del self._running[scope]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("gateway.fetch_failed", study=scope.study, series=scope.series, reason=str(error))

    async def _fill(self, scope: Scope) -> None:
        lock = self._locks.setdefault(scope.study, asyncio.Lock())
        try:
            async with asyncio.timeout(self._options.timeout), lock, self._places:
                if scope.study in self._going:
                    await self._gone.wait()
                if not self._is_fresh(scope):
                    await self._compare(scope)
        except TimeoutError:
            words = f"study {scope.study} was not brought within {self._options.timeout:g} s"
            raise RemoteFailed(words, late=True) from None
        await self.shrink()

    async def _compare(self, scope: Scope) -> None:
        """Make what is here what the remote archive has."""
        there = await self._source.count(scope)
        here = self._plan(scope)
        if there is not None and len(here) > there:
            await asyncio.to_thread(self.archive.remove, here)
            here = []
        if there is None or there != len(here):
            unsent = await self._source.fetch(scope)
            _judge(scope, there, len(self._plan(scope)), unsent)
        if len(self._fresh_until) >= _REMEMBERED:
            now = time.monotonic()
            self._fresh_until = {each: until for each, until in self._fresh_until.items() if until > now}
        self._fresh_until[scope] = time.monotonic() + self._options.fresh

    async def shrink(self) -> None:
        """Remove the studies unused for longest, as far as there is too much."""
        async with self._shrinking:
            if self.archive.stats().bytes_live <= self._options.size:
                return
            try:
                await self._evict(await asyncio.to_thread(self._kept))
            except (ArchiveError, OSError) as error:
                log.warning("gateway.cache_not_shrunk", reason=str(error))

    def doubt(self, studies: Collection[str]) -> None:
        """Compare these studies with the remote archive when they are asked for next."""
        self._fresh_until = {
            scope: until for scope, until in self._fresh_until.items() if scope.study not in studies
        }

    def _kept(self) -> dict[str, list[Stored]]:
        """Everything that is here, by study; blocking."""
        studies: dict[str, list[Stored]] = {}
        for stored in self.archive.plan_all():
            studies.setdefault(stored.study_instance_uid, []).append(stored)
        return studies

    async def _evict(self, studies: Mapping[str, list[Stored]]) -> None:
        """Remove and compact. Who asks for one of them from now on waits until it is gone."""
        going = self._unused(studies)
        if not going:
            return
        self.doubt(going)
        self._going = going
        self._gone.clear()
        try:
            await asyncio.to_thread(self.archive.remove, [each for study in going for each in studies[study]])
        finally:
            self._going = frozenset()
            self._gone.set()
        for study in going - self._pinned.keys():
            self._used.pop(study, None)
        given_back = await asyncio.to_thread(self.archive.compact)
        log.info("gateway.cache_shrunk", studies=len(going), bytes=given_back)

    def _unused(self, studies: Mapping[str, list[Stored]]) -> frozenset[str]:
        """Those to remove: neither in use nor being brought, until the others have room."""
        busy = self._pinned.keys() | {scope.study for scope in self._running}
        left = sum(stored.length for each in studies.values() for stored in each)
        going: set[str] = set()
        for study in sorted(studies.keys() - busy, key=lambda study: self._used.get(study, 0.0)):
            if left <= self._options.size:
                break
            left -= sum(stored.length for stored in studies[study])
            going.add(study)
        return frozenset(going)


def _judge(scope: Scope, there: int | None, came: int, unsent: int | None) -> None:
    """Whether what is here now is all. Raises: RemoteFailed.

    An archive that says it sent everything is believed where it counted more before, as those do that keep
    an instance twice; not where nothing came, for then it went to somebody else.
    """
    if not came and there != 0:
        raise RemoteFailed(
            f"nothing of study {scope.study} came, though the remote archive has it; where it is to move"
            " studies here, does its entry for our AE title lead to this node?"
        )
    if unsent != 0 and there is not None and came < there:
        raise RemoteFailed(f"only {came} of {there} instances of study {scope.study} came")
    if unsent and there is None:
        raise RemoteFailed(f"{unsent} instances of study {scope.study} were promised and did not come")

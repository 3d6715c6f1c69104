"""The archive gives space back by itself: segments with too much that is dead are compacted now and then."""

from __future__ import annotations

import asyncio

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.archive.catalogue import DatabaseError
from dicomwire.errors import ArchiveError

log = structlog.get_logger()


class Compaction:
    """Compacts every so often, in a thread of its own, while instances come and go."""

    def __init__(self, archive: Archive, *, every: float, least_waste: float) -> None:
        """Prepare.

        Args:
            every: seconds between two looks, 0 for never.
            least_waste: share of a segment that has to be dead.
        """
        self._archive = archive
        self._every = every
        self._least_waste = least_waste
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look in this loop from now on."""
        if self._every:
            self._task = asyncio.create_task(self._run(), name="compaction")

    async def stop(self) -> None:
        """Begin nothing more; what is being compacted ends when the archive closes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                freed = await asyncio.to_thread(self._archive.compact, self._least_waste)
            except (ArchiveError, DatabaseError, OSError) as error:
                log.error("archive.not_compacted", error=str(error))
                continue
            if freed:
                log.info("archive.compacted", freed=freed)

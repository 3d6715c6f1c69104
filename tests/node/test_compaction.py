"""Compaction by a running node."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dicomwire.node.compaction import Compaction
from tests.archive.test_archive import data_set, offer, opened, read


async def test_what_was_removed_gives_its_space_back_while_the_node_runs(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    for number in range(8):
        await offer(archive, data_set(f"1.2.{number}", pixels=10_000), f"1.2.{number}")
    await archive.stop()
    archive = opened(tmp_path)  # what was written before is sealed now
    before = sum(path.stat().st_size for path in (tmp_path / "segments").iterdir())
    await asyncio.to_thread(archive.remove, archive.plan()[1:])
    compaction = Compaction(archive, every=0.01, least_waste=0.3)
    compaction.start()
    async with asyncio.timeout(20):
        while (tmp_path / "segments" / "0000000001.seg").exists():
            await offer(archive, data_set("1.3", pixels=10), "1.3")
    await compaction.stop()
    assert sum(stored.length for stored in archive.plan()) < before / 4
    assert read(archive, "1.2.0") == data_set("1.2.0", pixels=10_000)
    await archive.stop()


async def test_an_archive_that_cannot_be_compacted_is_told_and_tried_again(tmp_path: Path) -> None:
    archive = opened(tmp_path)
    await archive.stop()
    compaction = Compaction(archive, every=0.001, least_waste=0.3)
    compaction.start()
    await asyncio.sleep(0.05)
    assert compaction._task is not None
    assert not compaction._task.done()
    await compaction.stop()
    Compaction(archive, every=0, least_waste=0.3).start()

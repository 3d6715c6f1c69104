"""Compaction that is killed or loses its power: what lives is whole, what was removed stays away."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.archive.maintenance import rebuild, verify
from tests.archive.test_archive import data_set, offer
from tests.crash.disk import Disk

OPTIONS = ArchiveOptions(segment_size=1 << 19, free_space=0)
COUNT = 400  # instances of 10 KB, in some segments
ROUNDS = 2
MOMENTS = (0.0, 0.03)  # seconds after its start that a compaction is ended; all of it takes about the last

COMPACT = """
import sys
from pathlib import Path
from dicomwire.archive.archive import Archive, ArchiveOptions
archive = Archive.open(Path(sys.argv[1]), ArchiveOptions(segment_size=1 << 19, free_space=0))
print("ready", flush=True)
archive.compact(0.05)
archive.close()
"""


def filled(data: Path) -> dict[str, bytes]:
    """Store instances into a data folder; returns them by their UIDs."""
    instances = {f"1.2.{n}": data_set(f"1.2.{n}", patient=f"P{n}", pixels=10_000) for n in range(COUNT)}

    async def store() -> None:
        archive = Archive.open(data, OPTIONS)
        archive.start(asyncio.get_running_loop())
        for uid, content in instances.items():
            await offer(archive, content, uid)
        await archive.stop()

    asyncio.run(store())
    return instances


def remove(data: Path, uids: list[str]) -> None:
    archive = Archive.open(data, OPTIONS)
    archive.remove([stored for uid in uids for stored in archive.plan(instance=uid)])
    archive.close()


def held(data: Path) -> dict[str, bytes]:
    """What an archive holds, read; it is not damaged."""
    archive = Archive.open(data, OPTIONS)
    assert archive.damage == ()
    found = {}
    for stored in archive.plan_all():
        with archive.open_stored(stored) as opened:
            found[stored.sop_instance_uid] = bytes(opened.view[stored.data_set_offset :])
    archive.close()
    assert list(verify(data)) == []
    return found


def compacting(data: Path, moment: float) -> subprocess.Popen[str]:
    """A compaction that runs since so many seconds, or has ended by then."""
    process = subprocess.Popen([sys.executable, "-c", COMPACT, str(data)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.mark.parametrize("seed", [51, 52])
def test_a_killed_compaction_loses_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = tmp_path / "data"
    data.mkdir()
    living = filled(data)
    for _ in range(ROUNDS):
        dead = chance.sample(sorted(living), len(living) // 4)
        remove(data, dead)
        for uid in dead:
            del living[uid]
        ended(compacting(data, chance.uniform(*MOMENTS)))
        assert held(data) == living
    rebuild(data)
    assert held(data) == living


@pytest.mark.parametrize("seed", [61, 62])
def test_a_compaction_whose_power_is_cut_loses_nothing(disk: Disk, seed: int) -> None:
    chance = random.Random(seed)
    data = disk.folder / "data"
    data.mkdir()
    living = filled(data)
    for _ in range(ROUNDS):
        dead = chance.sample(sorted(living), len(living) // 4)
        remove(data, dead)
        for uid in dead:
            del living[uid]
        process = compacting(data, chance.uniform(*MOMENTS))
        disk.cut_power()
        ended(process)
        gc.collect()  # maps of segments hold the file system
        disk.power_up()
        assert held(data) == living
    rebuild(data)
    assert held(data) == living
    gc.collect()

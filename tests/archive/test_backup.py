"""A backup is a data folder: what was in the archive at its moment is in it, whatever went on meanwhile."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from dicomwire.archive import backup as module
from dicomwire.archive.archive import Archive
from dicomwire.archive.backup import backup, copying, unlinking
from dicomwire.archive.maintenance import verify
from dicomwire.errors import ArchiveError
from tests.archive.test_archive import data_set, offer, opened, read


async def stored(folder: Path, *uids: str, pixels: int = 5000) -> Archive:
    archive = opened(folder)
    for uid in uids:
        await offer(archive, data_set(uid, pixels=pixels), uid)
    return archive


def held(folder: Path) -> list[str]:
    """The instances of a data folder, each read; nothing in it is damaged."""
    assert list(verify(folder)) == []
    archive = Archive.open(folder)
    assert archive.damage == ()
    found = [each.sop_instance_uid for each in archive.plan()]
    for uid in found:
        assert read(archive, uid)
    archive.close()
    return found


async def test_a_backup_of_a_running_archive_holds_what_was_answered(tmp_path: Path) -> None:
    archive = await stored(tmp_path / "data", "1.2.1", "1.2.2")
    await offer(archive, data_set("1.2.3", pixels=2 << 20), "1.2.3")
    made = backup(tmp_path / "data", tmp_path / "safe")
    await offer(archive, data_set("1.2.4"), "1.2.4")
    assert made.instances == 3
    assert made.bytes_copied == made.bytes_held
    assert held(tmp_path / "safe") == ["1.2.1", "1.2.2", "1.2.3"]
    await archive.stop()


async def test_backups_under_load_are_whole(tmp_path: Path) -> None:
    archive = await stored(tmp_path / "data", "1.2.0")
    ended = asyncio.Event()

    async def load() -> None:
        number = 1
        while not ended.is_set():
            await offer(archive, data_set(f"1.2.{number}"), f"1.2.{number}")
            number += 1

    loading = asyncio.create_task(load())
    for number in range(5):
        await asyncio.to_thread(backup, tmp_path / "data", tmp_path / "safe")
        shutil.copytree(tmp_path / "safe", tmp_path / str(number))
    ended.set()
    await loading
    await archive.stop()
    counts = [len(held(tmp_path / str(number))) for number in range(5)]
    assert counts == sorted(counts)
    assert counts[0] >= 1


async def test_the_next_backup_copies_only_what_is_new(tmp_path: Path) -> None:
    archive = await stored(tmp_path / "data", "1.2.1")
    first = backup(tmp_path / "data", tmp_path / "safe")
    await offer(archive, data_set("1.2.2"), "1.2.2")
    second = backup(tmp_path / "data", tmp_path / "safe")
    assert second.bytes_copied == second.bytes_held - first.bytes_held > 0
    assert backup(tmp_path / "data", tmp_path / "safe").bytes_copied == 0
    await archive.stop()
    assert held(tmp_path / "safe") == ["1.2.1", "1.2.2"]


async def test_what_compaction_unlinked_leaves_the_next_backup(tmp_path: Path) -> None:
    await (await stored(tmp_path / "data", "1.2.1", "1.2.2")).stop()
    backup(tmp_path / "data", tmp_path / "safe")
    archive = opened(tmp_path / "data")
    archive.remove(archive.plan(instance="1.2.1"))
    assert archive.compact() > 0
    backup(tmp_path / "data", tmp_path / "safe")
    await archive.stop()
    assert held(tmp_path / "safe") == ["1.2.2"]
    assert len(list((tmp_path / "safe" / "segments").iterdir())) == 1


async def test_compaction_waits_for_no_backup_and_no_backup_for_compaction(tmp_path: Path) -> None:
    archive = await stored(tmp_path / "data", "1.2.1")
    with copying(tmp_path / "data"), pytest.raises(ArchiveError, match="a backup is being made"):
        archive.compact()
    with unlinking(tmp_path / "data"), pytest.raises(ArchiveError, match="being compacted"):
        backup(tmp_path / "data", tmp_path / "safe")
    with copying(tmp_path / "data"):
        backup(tmp_path / "data", tmp_path / "safe")
    await archive.stop()


async def test_a_backup_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = await stored(tmp_path / "data", "1.2.1")
    backup(tmp_path / "data", tmp_path / "safe")
    await offer(archive, data_set("1.2.2", pixels=2 << 20), "1.2.2")
    await offer(archive, data_set("1.2.3"), "1.2.3")
    copies = 0
    fsync = os.fsync

    def cut(descriptor: int) -> None:
        nonlocal copies
        copies += 1
        if copies == 3:  # the catalogue and one segment
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fsync", cut)
        with pytest.raises(OSError, match="Input/output"):
            backup(tmp_path / "data", tmp_path / "safe")
    await archive.stop()
    shutil.copytree(tmp_path / "safe", tmp_path / "restored")
    assert "1.2.1" in held(tmp_path / "restored")
    backup(tmp_path / "data", tmp_path / "safe")
    assert held(tmp_path / "safe") == ["1.2.1", "1.2.2", "1.2.3"]


async def test_another_segment_of_the_same_number_takes_the_place_of_the_first(tmp_path: Path) -> None:
    await (await stored(tmp_path / "data", "1.2.1")).stop()
    backup(tmp_path / "data", tmp_path / "safe")
    shutil.rmtree(tmp_path / "data")
    await (await stored(tmp_path / "data", "1.2.2", "1.2.3")).stop()
    backup(tmp_path / "data", tmp_path / "safe")
    assert held(tmp_path / "safe") == ["1.2.2", "1.2.3"]


async def test_every_database_of_the_folder_is_in_it(tmp_path: Path) -> None:
    archive = await stored(tmp_path / "data", "1.2.1")
    work = sqlite3.connect(tmp_path / "data" / "work.sqlite", isolation_level=None)
    work.execute("PRAGMA journal_mode = WAL")
    work.execute("CREATE TABLE job (id INTEGER)")
    work.execute("INSERT INTO job VALUES (7)")
    backup(tmp_path / "data", tmp_path / "safe")
    copy = sqlite3.connect(tmp_path / "safe" / "work.sqlite")
    assert copy.execute("SELECT id FROM job").fetchall() == [(7,)]
    copy.close()
    work.close()
    await archive.stop()


async def test_what_is_no_backup_of_this_folder_is_left_alone(tmp_path: Path) -> None:
    await (await stored(tmp_path / "data", "1.2.1")).stop()
    await (await stored(tmp_path / "other", "1.2.2")).stop()
    backup(tmp_path / "other", tmp_path / "safe")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_text("mine")
    for destination, words in {"safe": "is a backup of", "files": "neither", "other": "neither"}.items():
        with pytest.raises(ArchiveError, match=words):
            backup(tmp_path / "data", tmp_path / destination)
    with pytest.raises(ArchiveError, match="the data folder itself"):
        backup(tmp_path / "data", tmp_path / "data")
    with pytest.raises(ArchiveError, match="holds no archive"):
        backup(tmp_path / "files", tmp_path / "new")
    assert held(tmp_path / "safe") == ["1.2.2"]


@pytest.mark.parametrize("renames", [0, 1])
async def test_a_backup_cut_short_after_a_compaction_brings_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Neither before nor after the new catalogue takes the place of the old one."""
    await (await stored(tmp_path / "data", "1.2.1", "1.2.2")).stop()
    backup(tmp_path / "data", tmp_path / "safe")
    archive = opened(tmp_path / "data")
    archive.remove(archive.plan(instance="1.2.1"))
    assert archive.compact() > 0
    rename = Path.rename

    def cut(path: Path, target: Path) -> Path:
        nonlocal renames
        if not renames:
            raise KeyboardInterrupt
        renames -= 1
        return rename(path, target)

    def full_stop(_: Path) -> None:
        if not renames:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut)
        if renames:
            patched.setattr(module, "sync_folder", full_stop)
        with pytest.raises(KeyboardInterrupt):
            backup(tmp_path / "data", tmp_path / "safe")
    await archive.stop()
    Archive.open(tmp_path / "safe").close()  # finds what lies elsewhere than the catalogue says
    assert held(tmp_path / "safe") == ["1.2.2"]


async def test_keys_are_in_it_and_stay_secret(tmp_path: Path) -> None:
    archive = await stored(tmp_path / "data", "1.2.1")
    key = tmp_path / "data" / "deidentify.key"
    key.write_bytes(b"secret")
    key.chmod(0o600)
    backup(tmp_path / "data", tmp_path / "safe")
    copied = tmp_path / "safe" / key.name
    assert copied.read_bytes() == b"secret"
    assert copied.stat().st_mode & 0o777 == 0o600
    await archive.stop()

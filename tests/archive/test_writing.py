"""The writer in a process of its own: what it answers, and what becomes of everything when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID
from structlog.testing import capture_logs

from dicomwire.archive.archive import Archive, ArchiveOptions, Outcome, Verdict
from dicomwire.archive.arrival import judged
from dicomwire.archive.entry import Entry
from dicomwire.archive.maintenance import rebuild, verify
from dicomwire.errors import ArchiveError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.archive.test_archive import CT, ORIGIN, data_set, offer, opened, read
from tests.archive.test_committer import LARGE, reception

PROCESS = ArchiveOptions(writer="process", free_space=0)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    found = opened(tmp_path, PROCESS)
    yield found
    await found.stop()


def writer_of(archive: Archive) -> int:
    """The process id of its writer."""
    return archive._writing._life._process.pid  # type: ignore[attr-defined, no-any-return]


def kill(archive: Archive) -> None:
    os.kill(writer_of(archive), signal.SIGKILL)


async def test_small_and_large_instances_are_stored_found_and_read_back(archive: Archive) -> None:
    for uid, pixels in (("1.2.1", 64), ("1.2.2", 200_000), ("1.2.3", LARGE)):
        data = data_set(uid, pixels=pixels)
        assert (await offer(archive, data, uid)).verdict is Verdict.STORED
        assert read(archive, uid) == data
        assert (await offer(archive, data, uid)).verdict is Verdict.ALREADY_STORED
    assert list(verify(archive.data)) == []


async def test_uids_may_be_of_a_class_of_their_own(archive: Archive) -> None:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    receiving = archive.receive(
        sop_class_uid=UID(CT),
        sop_instance_uid=UID("1.2.3"),
        transfer_syntax_uid=UID(EXPLICIT_VR_LITTLE_ENDIAN),
        origin=ORIGIN,
    )
    receiving.write(data_set())
    receiving.finish(done.set_result)
    assert (await done).verdict is Verdict.STORED


async def test_many_at_once_are_all_answered(archive: Archive) -> None:
    """More than the socket between both sides takes at once."""
    uids = [f"1.2.{number}" for number in range(3000)]
    outcomes: list[Outcome] = []
    all_of_them = asyncio.Event()

    def answered(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == len(uids):
            all_of_them.set()

    for uid in uids:
        reception(archive, data_set(uid), uid).finish(answered)
    async with asyncio.timeout(60):
        await all_of_them.wait()
    assert {outcome.verdict for outcome in outcomes} == {Verdict.STORED}
    assert archive.stats().instances == len(uids)


async def test_a_large_instance_that_takes_its_time_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of a million fragments, which are walked one by one."""
    archive = opened(tmp_path)
    begun, may_end = threading.Event(), threading.Event()

    def slowly(data: memoryview, *rest: Any) -> Entry | Outcome:
        if len(data) >= LARGE:
            begun.set()
            assert may_end.wait(30)
        return judged(data, *rest)

    monkeypatch.setattr("dicomwire.archive.writer.judged", slowly)
    large = asyncio.ensure_future(offer(archive, data_set("1.2.4", pixels=LARGE), "1.2.4"))
    assert await asyncio.to_thread(begun.wait, 30)
    assert (await offer(archive, data_set())).verdict is Verdict.STORED
    assert not large.done()
    may_end.set()
    assert (await large).verdict is Verdict.STORED
    await archive.stop()


async def test_removal_and_compaction_are_done_by_the_writer(archive: Archive) -> None:
    for number in range(4):
        await offer(archive, data_set(f"1.2.{number}", pixels=50_000), f"1.2.{number}")
    plan = archive.plan()
    read(archive, "1.2.0")  # which maps the segment
    await asyncio.to_thread(archive.remove, plan[:3])
    assert await asyncio.to_thread(archive.compact) == 0  # it is being written to
    await archive.stop()
    again = opened(archive.data, PROCESS)
    assert await asyncio.to_thread(again.compact) > 100_000
    assert [each.sop_instance_uid for each in again.plan()] == ["1.2.3"]
    assert read(again, "1.2.3") == data_set("1.2.3", pixels=50_000)
    await again.stop()


async def test_what_a_dying_writer_had_not_answered_is_refused_and_can_be_sent_again(
    archive: Archive,
) -> None:
    await offer(archive, data_set("1.2.1"), "1.2.1")
    os.kill(writer_of(archive), signal.SIGSTOP)
    waiting = [asyncio.ensure_future(offer(archive, data_set(uid), uid)) for uid in ("1.2.2", "1.2.3")]
    await asyncio.sleep(0)
    first = writer_of(archive)
    with capture_logs() as logs:
        kill(archive)
        outcomes = await asyncio.gather(*waiting)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.OUT_OF_RESOURCES}
    assert all("send it again" in outcome.comment for outcome in outcomes)
    assert [(each["event"], each["status"]) for each in logs if each["log_level"] == "critical"] == [
        ("archive.writer_ended", "ended by SIGKILL")
    ]
    for uid in ("1.2.2", "1.2.3"):
        assert (await offer(archive, data_set(uid), uid)).verdict is Verdict.STORED
    assert writer_of(archive) != first
    assert {each.sop_instance_uid for each in archive.plan()} == {"1.2.1", "1.2.2", "1.2.3"}
    assert list(verify(archive.data)) == []


async def test_a_writer_may_die_again_and_again_while_instances_come(archive: Archive) -> None:
    """Whatever was answered is there; what was refused is stored when it comes again."""
    stored: dict[str, bytes] = {}

    progress = asyncio.Condition()

    async def sender(first: int) -> None:
        for number in range(first, first + 40):
            uid, large = f"1.2.{number}", number % 10 == 0
            data = data_set(uid, pixels=LARGE if large else 500)
            while (outcome := await offer(archive, data, uid)).verdict is Verdict.OUT_OF_RESOURCES:
                assert "send it again" in outcome.comment
            async with progress:
                stored[uid] = data
                progress.notify_all()

    async def killer() -> None:
        for _ in range(5):
            async with progress:
                enough = len(stored) + 10
                await progress.wait_for(lambda: len(stored) >= enough)  # noqa: B023
            kill(archive)

    async with asyncio.timeout(120):
        await asyncio.gather(*(sender(first) for first in (100, 200, 300)), killer())
    assert {each.sop_instance_uid for each in archive.plan()} == stored.keys()
    assert all(read(archive, uid) == data for uid, data in stored.items())
    await archive.stop()
    assert rebuild(archive.data)[0] == len(stored)


async def test_a_writer_that_cannot_live_ends_storing_but_not_reading(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await offer(archive, data_set())
    monkeypatch.setattr("dicomwire.archive.life._COMMAND", "raise SystemExit(3)")
    kill(archive)
    outcome = await offer(archive, data_set("1.2.4"), "1.2.4")
    while "send it again" in outcome.comment:
        outcome = await offer(archive, data_set("1.2.4"), "1.2.4")
    assert outcome.verdict is Verdict.OUT_OF_RESOURCES
    assert "3 times (exit status 3)" in outcome.comment
    assert read(archive, "1.2.3") == data_set()
    with pytest.raises(ArchiveError, match="restart after repair"):
        archive.remove(archive.plan())


async def test_a_call_ends_with_its_writer(archive: Archive) -> None:
    await offer(archive, data_set())
    os.kill(writer_of(archive), signal.SIGSTOP)
    removal = asyncio.get_running_loop().run_in_executor(None, archive.remove, archive.plan())
    await asyncio.sleep(0.05)
    kill(archive)
    with pytest.raises(ArchiveError, match="writer ended"):
        await removal
    archive.remove(archive.plan())
    assert archive.plan() == []


async def test_a_signal_for_the_node_s_group_does_not_end_the_writer(archive: Archive) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(writer_of(archive), number)
    assert (await offer(archive, data_set())).verdict is Verdict.STORED


async def test_a_writer_that_cannot_open_the_catalogue_says_why(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").mkdir()
    with pytest.raises(ArchiveError, match="unable to open database file"):
        Archive.open(tmp_path, PROCESS)


async def test_a_process_that_cannot_begin_is_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomwire.archive.life._COMMAND", "raise SystemExit(3)")
    with pytest.raises(ArchiveError, match="ended: exit status 3"):
        Archive.open(tmp_path, PROCESS)
    monkeypatch.undo()
    await opened(tmp_path, PROCESS).stop()


async def test_the_writer_s_log_is_the_node_s(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "catalogue.sqlite").write_bytes(b"no database, but as long as its header is" * 100)
    with capture_logs() as logs:
        archive = Archive.open(tmp_path, PROCESS)
    archive.close()
    assert [each["event"] for each in logs] == ["archive.catalogue_unreadable"]
    assert logs[0]["error"] == "file is not a database"
    assert logs[0]["log_level"] == "error"


async def test_an_archive_that_is_closed_leaves_no_process(tmp_path: Path) -> None:
    archive = opened(tmp_path, PROCESS)
    pid = writer_of(archive)
    await archive.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "catalogue.sqlite-wal").exists()


async def test_slots_are_given_back_however_an_instance_ends(archive: Archive) -> None:
    slots = archive._writing.slots
    budget = archive._writing.budget
    for data in (data_set(), b"no data set", b"", data_set(patient="P2")):
        await offer(archive, data)
    reception(archive, data_set()).abort()
    await offer(archive, data_set("1.2.9", pixels=LARGE), "1.2.9")
    assert len(slots._free) == slots._made == 1
    assert (budget.waiting, budget.unfinished, budget.instances) == (0, 0, 0)

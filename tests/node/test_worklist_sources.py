"""Worklist items by HL7 over MLLP, and from a folder as wlmscpfs has it."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dicomwire.dicom.data_set import DataSet, encode
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.node.mllp import END, START, Listener
from dicomwire.node.work_settings import HL7Settings
from dicomwire.node.worklist_folder import Folder
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.work.store import Store, open_store
from tests.work.items import item
from tests.work.test_hl7_orders import accessions, orm


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path)
    store.start(asyncio.get_running_loop())
    yield store
    await store.stop()


async def exchange(listener: Listener, sent: bytes, answers: int) -> list[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        found = (await reader.read()).split(END)
    writer.close()
    await writer.wait_closed()
    assert len(found) == answers + 1
    return found[:-1]


@pytest.fixture
async def listener(store: Store) -> AsyncIterator[Listener]:
    listener = Listener(store, HL7Settings(port=0))
    await listener.start()
    yield listener
    await listener.stop()


async def test_messages_are_acknowledged_one_by_one(store: Store, listener: Listener) -> None:
    sent = b"".join(START + message + END for message in (orm(), orm(modality=""), orm(control="XO")))
    answers = await exchange(listener, sent, 3)
    assert [answer.split(b"MSA|")[1][:2] for answer in answers] == [b"AA", b"AE", b"AA"]
    assert accessions(store) == ["ACC1"]


async def test_a_message_that_is_cut_changes_nothing(store: Store, listener: Listener) -> None:
    whole = START + orm() + END
    for at in (1, 40, len(whole) - 2, len(whole) - 1):
        assert await exchange(listener, whole[:at], 0) == []
    assert await exchange(listener, b"GET / HTTP/1.1\r\n\r\n", 0) == []
    assert accessions(store) == []


async def test_a_message_that_begins_anew_takes_nothing_of_the_one_before(
    store: Store, listener: Listener
) -> None:
    first, second = (orm().replace(b"ACC1", name).replace(b"SPS1", name) for name in (b"ACC1", b"ACC2"))
    for at in (10, first.index(b"OBR"), len(first) - 1, len(first)):
        (answer,) = await exchange(listener, START + first[:at] + START + second + END, 1)
        assert b"MSA|AA|" in answer
        assert accessions(store) == ["ACC2"]


def write(path: Path, attributes: DataSet) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = write_file_meta("1.2.276.0.7230010.3.1.0.1", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN)
    path.write_bytes(meta + encode(attributes, EXPLICIT_VR_LITTLE_ENDIAN))


async def test_a_folder_is_followed(store: Store, tmp_path: Path) -> None:
    files = tmp_path / "worklist"
    write(files / "wide.wl", item(1))
    write(files / "DCMTK" / "one.wl", item(2))
    (files / "DCMTK" / "lockfile").touch()
    (files / "DCMTK" / "notes.txt").write_text("no item")
    folder = Folder(store, files, 3600)
    await folder.start()
    rows = store.rows("SELECT accession_number, ae_title FROM worklist ORDER BY 1")
    assert rows == [("A1", ""), ("A2", "DCMTK")]
    write(files / "DCMTK" / "one.wl", item(3))
    (files / "DCMTK" / "broken.wl").write_bytes(b"nothing")
    (files / "wide.wl").unlink()
    await asyncio.to_thread(folder.look)
    assert accessions(store) == ["A3"]
    await folder.stop()
    (files / "DCMTK" / "one.wl").unlink()
    await asyncio.to_thread(Folder(store, files, 3600).look)  # as after a new start
    assert accessions(store) == []


async def test_a_locked_folder_rests(store: Store, tmp_path: Path) -> None:
    files = tmp_path / "worklist"
    write(files / "AE" / "one.wl", item(1))
    folder = Folder(store, files, 3600)
    await asyncio.to_thread(folder.look)
    descriptor = os.open(files / "AE" / "lockfile", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        write(files / "AE" / "one.wl", item(2))
        await asyncio.to_thread(folder.look)
        assert accessions(store) == ["A1"]
    finally:
        os.close(descriptor)
    await asyncio.to_thread(folder.look)
    assert accessions(store) == ["A2"]

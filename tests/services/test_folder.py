"""Received instances as files: whole or not at all, where their UIDs say, never over another one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pydicom
import pytest

from dicomwire.association.association import Association
from dicomwire.association.requestor import Context, connect
from dicomwire.dimse import status
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.services.data_sets import ReceivedInstance
from dicomwire.services.folder import Folder, Written
from dicomwire.services.listening import listen
from dicomwire.services.receiving import Arrival, NotTaken, Receiver
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.services.retrieving import CT, MR, SERIES, STUDY, encoded, image

UID = f"{SERIES}.1"


@asynccontextmanager
async def sending(store: object) -> AsyncIterator[Association]:
    async with (
        listen("HERE", 0, store=store) as acceptor,  # type: ignore[arg-type]
        connect(
            "127.0.0.1",
            acceptor.port,
            called_ae_title="HERE",
            calling_ae_title="THERE",
            contexts=[Context(CT, (EXPLICIT_VR_LITTLE_ENDIAN,)), Context(MR, (EXPLICIT_VR_LITTLE_ENDIAN,))],
        ) as association,
    ):
        yield association


async def put(
    association: Association, data: bytes, *, uid: str = UID, sop_class: str = CT, context: str = CT
) -> CStoreRsp:
    (agreed,) = association.contexts_for(context)
    command = CStoreRq(0, sop_class, uid)
    response = (await association.request(agreed.presentation_context_id, command, [data])).command
    assert isinstance(response, CStoreRsp)
    return response


def good(number: int = 1, **values: object) -> bytes:
    return encoded(image(number, **values), implicit=False)  # type: ignore[arg-type]


def with_study(value: bytes) -> bytes:
    """An instance whose Study Instance UID has other six bytes."""
    head = b"\x20\x00\x0d\x00UI\x06\x00"
    whole = good()
    assert whole.count(head + b"1.2.3\0") == 1
    return whole.replace(head + b"1.2.3\0", head + value)


def tree(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def test_an_instance_is_a_file_named_by_its_uids(tmp_path: Path) -> None:
    written: list[Written] = []
    folder = Folder(tmp_path / "new" / "in", written.append)
    assert isinstance(folder, Receiver)
    async with sending(folder) as association:
        answer = await put(association, good(size=100_000))
    assert (answer.status, answer.affected_sop_instance_uid) == (status.SUCCESS, UID)
    (file,) = written
    assert file.path == tmp_path / "new" / "in" / STUDY / SERIES / f"{UID}.dcm"
    assert (file.sop_class_uid, file.sop_instance_uid, file.there) == (CT, UID, False)
    assert file.length == file.path.stat().st_size
    read = pydicom.dcmread(file.path)
    assert read.file_meta.SourceApplicationEntityTitle == "THERE"
    assert read.PixelData == bytes(100_000)
    assert file.path.read_bytes().endswith(good(size=100_000))


async def test_the_same_again_stays_and_another_one_gets_a_number(tmp_path: Path) -> None:
    written: list[Written] = []
    async with sending(Folder(tmp_path, written.append)) as association:
        for data in (good(), good(), good(PatientName="OTHER"), good(PatientName="OTHER"), good(size=2)):
            assert (await put(association, data)).status == status.SUCCESS
    assert [(each.path.name, each.there) for each in written] == [
        (f"{UID}.dcm", False),
        (f"{UID}.dcm", True),
        (f"{UID}.2.dcm", False),
        (f"{UID}.2.dcm", True),
        (f"{UID}.3.dcm", False),
    ]
    assert [each.suffix for each in tree(tmp_path) if each.is_file()] == [".dcm"] * 3


@pytest.mark.parametrize(
    ("data", "arguments", "code"),
    [
        pytest.param(good()[:-10], {}, status.CANNOT_UNDERSTAND, id="cut"),
        pytest.param(b"garbage!", {}, status.CANNOT_UNDERSTAND, id="garbage"),
        pytest.param(good(2), {}, status.DOES_NOT_MATCH_SOP_CLASS, id="another-instance"),
        pytest.param(good(sop_class=MR), {}, status.DOES_NOT_MATCH_SOP_CLASS, id="another-class"),
        pytest.param(good(), {"context": MR}, status.DOES_NOT_MATCH_SOP_CLASS, id="another-context"),
        pytest.param(good(), {"uid": "../../etc"}, status.CANNOT_UNDERSTAND, id="a-path-for-a-uid"),
        pytest.param(with_study(b"../../"), {}, status.CANNOT_UNDERSTAND, id="a-path-for-a-study"),
        pytest.param(with_study(bytes(6)), {}, status.CANNOT_UNDERSTAND, id="no-study"),
        pytest.param(with_study(b"1.2\\3 "), {}, status.CANNOT_UNDERSTAND, id="two-studies"),
    ],
)
async def test_what_is_wrong_is_refused_and_leaves_nothing(
    tmp_path: Path, data: bytes, arguments: dict[str, str], code: int
) -> None:
    folder = tmp_path / "in"
    async with sending(Folder(folder)) as association:
        refused = await put(association, data, **arguments)
        assert refused.status == code, refused
        assert refused.error_comment
        assert tree(tmp_path) == [folder]
        assert (await put(association, good())).status == status.SUCCESS


async def test_an_association_that_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async with sending(Folder(tmp_path)) as association:

        def pieces() -> Iterator[bytes]:
            yield bytes(300_000)
            raise OSError("the file is gone")

        (agreed,) = association.contexts_for(CT)
        with pytest.raises(OSError, match="gone"):
            await association.request(agreed.presentation_context_id, CStoreRq(0, CT, UID), pieces())
        await association.wait_closed()
    assert tree(tmp_path) == []


class FullDisk(Folder):
    """A folder whose disk has no space left, as /dev/full has none."""

    def open(self, arrival: Arrival) -> IO[bytes]:
        spool = super().open(arrival)
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, spool.fileno())
        os.close(full)
        return spool


@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_full_disk_is_out_of_resources(tmp_path: Path, size: int) -> None:
    async with sending(FullDisk(tmp_path)) as association:
        refused = await put(association, good(size=size))
    assert refused.status == status.OUT_OF_RESOURCES
    assert "space" in (refused.error_comment or "")
    assert tree(tmp_path) == []


async def test_what_is_not_whole_goes_with_the_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.open(Arrival(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN, "")) as spool:
        spool.write(b"some of it")
    assert [each.suffix for each in tree(tmp_path)] == [".part"]
    folder.close()
    assert tree(tmp_path) == []


async def test_a_function_takes_instances_or_refuses_them(tmp_path: Path) -> None:
    names: list[str] = []

    async def take(instance: ReceivedInstance) -> None:
        await asyncio.sleep(0)
        name = str(instance.dataset().get("PatientName", ""))
        if name == "NOBODY":
            raise NotTaken("not him", 0xA700)
        if name == "FAULT":
            raise RuntimeError("the application's own")
        names.append(name)

    async with sending(take) as association:
        assert (await put(association, good(PatientName="DOE"))).status == status.SUCCESS
        refused = await put(association, good(PatientName="NOBODY"))
        assert (refused.status, refused.error_comment) == (0xA700, "not him")
        assert (await put(association, good(PatientName="FAULT"))).status == status.PROCESSING_FAILURE
        assert (await put(association, good(PatientName="ROE"))).status == status.SUCCESS
    assert names == ["DOE", "ROE"]

"""Stored instances in other transfer syntaxes; hostile ones end a job, not the node."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from struct import pack

import imagecodecs
import numpy
import pytest

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.jobs import Job
from dicomwire.archive.transcoder import Spooled, Transcoder
from dicomwire.archive.workers import WorkerOptions
from dicomwire.dicom import codecs, rle
from dicomwire.dicom.decode import decode_frame
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.dicom.pixel_description import PixelDescription
from dicomwire.dicom.rendering import Rendering, Window
from dicomwire.dicom.scan import scan
from dicomwire.dicom.transcode import transcode
from dicomwire.errors import ArchiveError, TranscodingError, WorkersBusy
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.archive.test_archive import CT, element, offer

PIXELS = numpy.random.default_rng(1).integers(0, 4096, (32, 24)).astype("<u2")


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    archive = Archive.open(tmp_path)
    archive.start(asyncio.get_running_loop())
    yield archive
    archive.close()


@pytest.fixture
async def transcoder(archive: Archive) -> AsyncIterator[Transcoder]:
    transcoder = Transcoder(archive, WorkerOptions(processes=1, memory=1 << 30, timeout=60))
    yield transcoder
    await transcoder.close()


def image(
    uid: str = "1.2.3", *, rows: int = 32, columns: int = 24, frame: bytes | None = None, frames: int = 1
) -> bytes:
    """A data set with native pixels, or with one encapsulated frame."""
    head = (
        element(0x00080016, b"UI", CT.encode())
        + element(0x00080018, b"UI", uid.encode())
        + element(0x0020000D, b"UI", b"1.2")
        + element(0x0020000E, b"UI", b"1.2.1")
        + element(0x00280002, b"US", pack("<H", 1))
        + element(0x00280004, b"CS", b"MONOCHROME2 ")
        + element(0x00280008, b"IS", str(frames).encode().ljust(4))
        + element(0x00280010, b"US", pack("<H", rows))
        + element(0x00280011, b"US", pack("<H", columns))
        + element(0x00280100, b"US", pack("<H", 16))
        + element(0x00280101, b"US", pack("<H", 12))
        + element(0x00280102, b"US", pack("<H", 11))
        + element(0x00280103, b"US", pack("<H", 0))
    )
    if frame is None:
        return head + element(0x7FE00010, b"OW", PIXELS.tobytes() * frames)
    frame += b"\0" * (len(frame) & 1)
    fragments = pack("<HHI", 0xFFFE, 0xE000, 0) + pack("<HHI", 0xFFFE, 0xE000, len(frame)) + frame
    return (
        head
        + pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        + fragments
        + pack("<HHI", 0xFFFE, 0xE0DD, 0)
    )


async def stored(archive: Archive, data: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> Stored:
    await offer(archive, data, syntax=syntax)
    (one,) = archive.plan(study="1.2")
    return one


async def test_an_instance_comes_out_in_what_is_accepted_and_back_unchanged(
    archive: Archive, transcoder: Transcoder
) -> None:
    data = image(frames=3)
    one = await stored(archive, data)
    target = transcoder.target(one, [codecs.JPEG_BASELINE, codecs.JPEG_LS_LOSSLESS, codecs.RLE_LOSSLESS])
    assert target == codecs.JPEG_LS_LOSSLESS
    async with transcoder.transcode(one, target) as transcoded:
        result = b"".join(transcoded.slices())
        assert transcoded.length == len(result) < len(data)
        meta = read_file_meta(transcoded.head + result, complete=True)
    assert meta is not None
    assert meta.transfer_syntax_uid == target
    assert b"".join(transcode(result, target, EXPLICIT_VR_LITTLE_ENDIAN)) == data


async def test_frames_are_decoded_and_encoded(archive: Archive, transcoder: Transcoder) -> None:
    frame = imagecodecs.jpegls_encode(PIXELS)
    one = await stored(archive, image(frame=frame), codecs.JPEG_LS_LOSSLESS)
    native = await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    assert native == PIXELS.tobytes()
    encoded = await transcoder.frame(one, 1, codecs.HTJ2K_LOSSLESS)
    assert numpy.array_equal(imagecodecs.htj2k_decode(bytes(encoded)), PIXELS)


async def test_large_results_are_spooled_to_a_file_that_has_no_name(
    archive: Archive, transcoder: Transcoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomwire.archive.transcoder._IN_MEMORY", 0)
    one = await stored(archive, image(frames=2))
    async with transcoder.transcode(one, IMPLICIT_VR_LITTLE_ENDIAN) as transcoded:
        folder = archive.data / "spool"
        assert list(folder.iterdir()) == []
        assert scan(b"".join(transcoded.slices()), IMPLICIT_VR_LITTLE_ENDIAN).integer(0x00280008) == 2


async def test_what_would_lose_data_is_refused_unless_it_was_asked_for(
    archive: Archive, transcoder: Transcoder
) -> None:
    one = await stored(archive, image())
    assert transcoder.target(one, [codecs.JPEG_EXTENDED]) is None
    with pytest.raises(TranscodingError, match="without loss"):
        async with transcoder.transcode(one, codecs.JPEG_EXTENDED):
            pass
    async with transcoder.transcode(one, codecs.JPEG_EXTENDED, quality=80) as transcoded:
        found = scan(b"".join(transcoded.slices()), codecs.JPEG_EXTENDED)
    assert found.text(0x00282110) == "01"
    assert found.texts(0x00080008)[0] == "DERIVED"


BOMBS = {
    "cut": (codecs.JPEG_LS_LOSSLESS, imagecodecs.jpegls_encode(PIXELS)[:90], {}),
    "garbage": (codecs.JPEG_2000_LOSSLESS, b"\xff\x4f\xff\x51" + bytes(range(256)) * 4, {}),
    "nothing": (codecs.RLE_LOSSLESS, b"", {}),
    "another size": (
        codecs.JPEG_2000_LOSSLESS,
        imagecodecs.jpeg2k_encode(PIXELS, level=0, codecformat="J2K", reversible=True),
        {"rows": 65535, "columns": 65535},
    ),
    "huge": (
        codecs.JPEG_XL_LOSSLESS,
        imagecodecs.jpegxl_encode(numpy.zeros((30_000, 17_000), "u2"), lossless=True, effort=1),
        {"rows": 30_000, "columns": 17_000},
    ),
    "deflated zeros": (codecs.DEFLATED_IMAGE_FRAME, b"\x03\x00", {"rows": 60_000, "columns": 8_000}),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_hostile_images_end_in_words_and_the_next_one_is_served(
    archive: Archive, transcoder: Transcoder, name: str
) -> None:
    syntax, frame, size = BOMBS[name]
    await offer(archive, image(frame=frame, **size), syntax=syntax)
    await offer(archive, image("1.2.4"), "1.2.4")
    hostile, harmless = archive.plan(study="1.2")
    with pytest.raises(TranscodingError):
        await transcoder.frame(hostile, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    frame_of_other = await transcoder.frame(harmless, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    assert frame_of_other == PIXELS.tobytes()


LARGE = numpy.zeros((3_000, 4_000), "<u2")
LARGE[::100, ::10] = 4_095
DESCRIPTION = PixelDescription(*LARGE.shape, 1, "MONOCHROME2", 0, 16, 12, 11, 0)
LARGE_FRAMES = {
    codecs.RLE_LOSSLESS: lambda: rle.encode(LARGE[..., None]),
    codecs.JPEG_LOSSLESS_SV1: lambda: imagecodecs.jpeg_encode(
        LARGE, lossless=True, predictor=1, bitspersample=12
    ),
    codecs.JPEG_LS_LOSSLESS: lambda: imagecodecs.jpegls_encode(LARGE),
    codecs.JPEG_2000_LOSSLESS: lambda: imagecodecs.jpeg2k_encode(
        LARGE, level=0, codecformat="J2K", reversible=True, bitspersample=12
    ),
    codecs.HTJ2K_LOSSLESS: lambda: imagecodecs.htj2k_encode(LARGE, reversible=True),
}


@pytest.mark.parametrize("syntax", LARGE_FRAMES)
async def test_large_frames_are_decoded_encoded_and_rendered_in_little_memory(
    archive: Archive, syntax: str
) -> None:
    """On its way a frame would be held twice or more, by OpenJPEG four times; none is refused."""
    transcoder = Transcoder(archive, WorkerOptions(processes=1, memory=112 << 20, timeout=60))
    rows, columns = LARGE.shape
    one = await stored(
        archive, image(rows=rows, columns=columns, frame=bytes(LARGE_FRAMES[syntax]())), syntax
    )
    native = await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    assert isinstance(native, Spooled)
    assert b"".join(native.slices()) == LARGE.tobytes()
    target = codecs.JPEG_LS_LOSSLESS if syntax != codecs.JPEG_LS_LOSSLESS else codecs.JPEG_2000_LOSSLESS
    encoded = await transcoder.frame(one, 1, target)
    assert isinstance(encoded, Spooled)
    cells, _ = decode_frame(b"".join(encoded.slices()), target, DESCRIPTION)
    assert numpy.array_equal(cells[..., 0], LARGE)
    picture = await transcoder.render(one, [1], Rendering(window=Window(2048, 4096)))
    assert isinstance(picture, Spooled)
    assert imagecodecs.jpeg8_decode(b"".join(picture.slices())).shape == LARGE.shape
    await transcoder.close()


async def test_a_worker_that_dies_fails_its_job_alone(archive: Archive, transcoder: Transcoder) -> None:
    one = await stored(archive, image())
    await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    (worker,) = transcoder._pool._idle
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(TranscodingError, match="SIGKILL"):
        await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    assert await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN) == PIXELS.tobytes()


async def test_a_job_that_nobody_waits_for_is_finished_and_its_worker_kept(
    archive: Archive, transcoder: Transcoder
) -> None:
    one = await stored(archive, image())
    asking = asyncio.create_task(transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    assert len(transcoder._pool._idle) == 1


async def test_a_job_that_has_not_begun_ends_with_who_asked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcoder = Transcoder(archive, WorkerOptions(processes=1))
    one = await stored(archive, image())
    begun = []
    run = transcoder._pool._run_in_worker

    async def noted(job: Job, descriptors: list[int]) -> bytearray:
        begun.append(job)
        return await run(job, descriptors)

    monkeypatch.setattr(transcoder._pool, "_run_in_worker", noted)
    first, second = (
        asyncio.create_task(transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)) for _ in range(2)
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await first == PIXELS.tobytes()
    assert len(begun) == 1
    assert not transcoder._pool._queued
    await transcoder.close()


async def test_too_many_waiting_jobs_are_turned_away(archive: Archive) -> None:
    transcoder = Transcoder(archive, WorkerOptions(processes=1, waiting=0))
    one = await stored(archive, image())
    with pytest.raises(WorkersBusy):
        await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)
    await transcoder.close()


async def test_removed_instances_are_told_as_such(archive: Archive, transcoder: Transcoder) -> None:
    one = await stored(archive, image())
    await asyncio.to_thread(archive.remove, [one])
    os.unlink(archive.path_of(one))
    with pytest.raises(ArchiveError, match="removed"):
        await transcoder.frame(one, 1, EXPLICIT_VR_LITTLE_ENDIAN)


async def test_without_the_codecs_uncompressed_transfer_syntaxes_still_become_each_other(
    archive: Archive, transcoder: Transcoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcoder, "available", False)
    one = await stored(archive, image())
    accepted = [codecs.RLE_LOSSLESS, IMPLICIT_VR_LITTLE_ENDIAN]
    assert transcoder.target(one, accepted) == IMPLICIT_VR_LITTLE_ENDIAN
    assert transcoder.target(one, [codecs.RLE_LOSSLESS]) is None


def test_the_node_itself_loads_no_codec() -> None:
    script = (
        "import sys, dicomwire.node.node;"
        "print(*sorted({'numpy', 'imagecodecs', 'PIL', 'av'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""

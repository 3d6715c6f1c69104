"""An archive, the application on it and a real port; instances made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from struct import pack
from typing import Protocol

import httpx
import pydicom
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder, WorkerOptions
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web.app import build
from dicomwire.web.options import ServerOptions, WebOptions
from dicomwire.web.server import Server, bind
from dicomwire.work.store import Store, open_store

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY, SERIES = "1.2.3", "1.2.3.4"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance in Explicit VR Little Endian and what its file is made of."""

    sop_instance_uid: str
    meta: bytes
    data_set: bytes

    @property
    def file(self) -> bytes:
        return self.meta + self.data_set


def element(tag: int, vr: str, value: bytes) -> bytes:
    """An element in Explicit VR Little Endian."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB") else b" "
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (pack("<HI", 0, len(value)) if vr in ("OB", "OW", "SQ") else pack("<H", len(value))) + value


def make(
    number: int = 1,
    *,
    study: str = STUDY,
    series: str = SERIES,
    uid: str | None = None,
    sop_class: str = CT,
    meta_uid: str | None = None,
    meta_class: str | None = None,
    frames: tuple[bytes, ...] = (b"\1\2\3\4\5\6\7\x08",),
    extra: bytes = b"",
) -> Instance:
    """A 2 x 2 image of 16 bits with one or more frames; "" leaves a UID out."""
    uid = f"{series}.{number}" if uid is None else uid
    data_set = b"".join(
        element(tag, vr, value)
        for tag, vr, value in [
            (0x00080016, "UI", sop_class.encode()),
            (0x00080018, "UI", uid.encode()),
            (0x00100010, "PN", b"Doe^Jane"),
            (0x00100020, "LO", b"P1"),
            (0x0020000D, "UI", study.encode()),
            (0x0020000E, "UI", series.encode()),
            (0x00200013, "IS", str(number).encode()),
            (0x00280002, "US", pack("<H", 1)),
            (0x00280004, "CS", b"MONOCHROME2"),
            (0x00280008, "IS", str(len(frames)).encode()),
            (0x00280010, "US", pack("<H", 2)),
            (0x00280011, "US", pack("<H", 2)),
            (0x00280100, "US", pack("<H", 16)),
            (0x00280101, "US", pack("<H", 16)),
            (0x00280102, "US", pack("<H", 15)),
            (0x00280103, "US", pack("<H", 0)),
        ]
        if value
    )
    data_set += extra + element(0x7FE00010, "OW", b"".join(frames))
    meta = write_file_meta(
        sop_class if meta_class is None else meta_class,
        uid if meta_uid is None else meta_uid,
        EXPLICIT_VR_LITTLE_ENDIAN,
    )
    return Instance(uid, meta, data_set)


@pytest.fixture
def make_instance() -> Callable[..., Instance]:
    return make


@pytest.fixture
def convert() -> Callable[[Instance, str], bytes]:
    """The same instance in another uncompressed transfer syntax, written by pydicom."""

    def written(instance: Instance, syntax: str) -> bytes:
        little_endian = syntax != EXPLICIT_VR_BIG_ENDIAN
        source = pydicom.dcmread(BytesIO(instance.file))
        copy = pydicom.Dataset()
        for each in source:
            copy.add(each)
        if not little_endian:
            pixels = source.PixelData
            copy["PixelData"].value = b"".join(pixels[i : i + 2][::-1] for i in range(0, len(pixels), 2))
        copy.file_meta = source.file_meta
        copy.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        file = BytesIO()
        pydicom.dcmwrite(
            file, copy, implicit_vr=syntax == IMPLICIT_VR_LITTLE_ENDIAN, little_endian=little_endian,
            enforce_file_format=True,
        )  # fmt: skip
        return file.getvalue()

    return written


@dataclass(slots=True)
class Door:
    """The application on a port, and a client of it.

    Attributes:
        base: URL of the DICOMweb service.
    """

    archive: Archive
    client: httpx.AsyncClient
    base: str
    port: int
    server: Server

    async def store(self, *instances: Instance | bytes, study: str = "") -> httpx.Response:
        files = [instance if isinstance(instance, bytes) else instance.file for instance in instances]
        path = f"/studies/{study}" if study else "/studies"
        content_type = 'multipart/related; type="application/dicom"; boundary="B"'
        return await self.client.post(
            self.base + path, content=multipart(*files), headers={"Content-Type": content_type}
        )

    async def get(self, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
        return await self.client.get(self.base + path, headers={"Accept": accept, **headers})


def multipart(*files: bytes) -> bytes:
    parts = [b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n" + file for file in files]
    return b"".join(parts) + b"\r\n--B--\r\n"


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    archive = Archive.open(tmp_path / "data")
    archive.start(asyncio.get_running_loop())
    yield archive
    await archive.stop()


@pytest.fixture
def web_options() -> WebOptions:
    return WebOptions()


@pytest.fixture
def server_options() -> ServerOptions:
    return ServerOptions(grace=2.0)


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path)
    store.start(asyncio.get_running_loop())
    yield store
    await store.stop()


@pytest.fixture
async def door(
    archive: Archive, work: Store, web_options: WebOptions, server_options: ServerOptions
) -> AsyncIterator[Door]:
    async with opened(archive, work, web_options, server_options) as door:
        yield door


@asynccontextmanager
async def opened(
    archive: Archive, work: Store, web_options: WebOptions, server_options: ServerOptions
) -> AsyncIterator[Door]:
    """The application with these options on a port."""
    transcoder = Transcoder(archive, WorkerOptions(processes=2))
    app = build(archive, web_options, transcoder=transcoder, work=work)
    app = Starlette(routes=[Mount("/dicom-web", app=app)])
    server = Server(app, server_options)
    await server.start(bind("127.0.0.1", 0))
    port = server.addresses[0][1]
    async with httpx.AsyncClient(timeout=20) as client:
        yield Door(archive, client, f"http://127.0.0.1:{port}/dicom-web", port, server)
    await server.stop()
    await transcoder.close()


class Served(Protocol):
    app: Starlette


@pytest.fixture
async def server(application: Served, options: ServerOptions) -> AsyncIterator[Server]:
    """A server of the application that a module has made, with its options."""
    server = Server(application.app, options)
    await server.start(bind("127.0.0.1", 0))
    yield server
    async with asyncio.timeout(5):
        await server.stop()

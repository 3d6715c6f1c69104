"""A node with an archive and a receiver, both in this process, for what is retrieved over the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicomwire.archive.archive import Archive, ArchiveOptions, Origin, Outcome, Verdict
from dicomwire.archive.transcoder import Transcoder, WorkerOptions
from dicomwire.association.acceptor import Acceptor
from dicomwire.association.association import Association
from dicomwire.association.invoker import Response
from dicomwire.association.options import AcceptorOptions, LocalEntity
from dicomwire.association.performer import Request, Services, Sink
from dicomwire.association.requestor import Context, RequestorOptions, connect
from dicomwire.dimse.command import CGetRq, CMoveRq, CStoreRq, CStoreRsp, SubOperationsResponse
from dicomwire.services import get, move, storage
from dicomwire.services.move import Destination
from dicomwire.services.retrieval import Retriever, levels_are_free
from dicomwire.services.selection import MODELS, RELATIONAL
from dicomwire.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    storage_sop_classes,
)
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    RoleSelection,
    SOPClassExtendedNegotiation,
)
from dicomwire.upper_layer.negotiation import AcceptorPolicy, RolePolicy
from dicomwire.upper_layer.pdu import Buffer

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
STUDY, SERIES = "1.2.3", "1.2.3.4"
DEFAULTS = RequestorOptions()

Asked: TypeAlias = bytes | Mapping[str, object]


def encoded(values: Dataset | Mapping[str, object], *, implicit: bool = True) -> bytes:
    """A data set in a little endian syntax, written by pydicom."""
    data_set = values
    if not isinstance(values, Dataset):
        data_set = Dataset()
        for keyword, value in values.items():
            setattr(data_set, keyword, value)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    write_dataset(buffer, data_set)
    return bytes(buffer.getvalue())


def decoded(data: bytes | None, *, implicit: bool = True) -> Dataset:
    """The same back."""
    return pydicom.filereader.read_dataset(DicomBytesIO(data or b""), implicit, True)


def image(
    number: int,
    *,
    sop_class: str = CT,
    study: str = STUDY,
    series: str = SERIES,
    patient: str = "P1",
    size: int = 64,
    **more: object,
) -> Dataset:
    """One instance; its UID is its series' with the number behind."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = sop_class, f"{series}.{number}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
    data_set.PatientID, data_set.InstanceNumber = patient, str(number)
    data_set.PixelData = bytes(size)
    data_set["PixelData"].VR = "OW"
    for keyword, value in more.items():
        setattr(data_set, keyword, value)
    return data_set


async def keep(
    archive: Archive, data_set: Dataset, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, data: bytes | None = None
) -> None:
    """Store an instance; `data` stands for what pydicom would write."""
    reception = archive.receive(
        sop_class_uid=data_set.SOPClassUID,
        sop_instance_uid=data_set.SOPInstanceUID,
        transfer_syntax_uid=syntax,
        origin=Origin("dimse", "127.0.0.1:1"),
    )
    reception.write(memoryview(data or encoded(data_set, implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN)))
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    reception.finish(done.set_result)
    outcome = await done
    assert outcome.verdict is Verdict.STORED, outcome


@dataclass
class Receiver:
    """A Storage SCP: what it got, and what it answers."""

    answer: Callable[[CStoreRq], int] = lambda command: 0
    data_sets: dict[str, bytes] = field(default_factory=dict)
    commands: list[CStoreRq] = field(default_factory=list)
    syntaxes: dict[str, str] = field(default_factory=dict)
    associations: list[Association] = field(default_factory=list)
    waiting: asyncio.Event | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def got(self, count: int) -> None:
        """Wait until so many requests have come whole."""
        async with asyncio.timeout(5):
            while len(self.commands) < count:
                self.came.clear()
                await self.came.wait()

    def services(self) -> Services:
        return {("*", CStoreRq): self.receive}

    def receive(self, request: Request) -> Sink:
        command = request.command
        assert isinstance(command, CStoreRq)
        self.commands.append(command)
        self.syntaxes[command.affected_sop_instance_uid] = request.context.transfer_syntax
        if request.association not in self.associations:
            self.associations.append(request.association)
        return Arriving(self, request, command)


class Arriving:
    """One data set on its way into a receiver."""

    def __init__(self, receiver: Receiver, request: Request, command: CStoreRq) -> None:
        self._receiver = receiver
        self._request = request
        self._command = command
        self._data = bytearray()

    def write(self, data: memoryview) -> None:
        self._data += data

    async def finish(self) -> None:
        receiver = self._receiver
        receiver.came.set()
        if receiver.waiting is not None:
            await receiver.waiting.wait()
        receiver.data_sets[self._command.affected_sop_instance_uid] = bytes(self._data)
        status = receiver.answer(self._command)
        if status < 0:
            self._request.association.abort(why="the test wants it")
            return
        self._request.respond(CStoreRsp(self._command.message_id, status))

    def abort(self, reason: str) -> None:
        self._data.clear()


@asynccontextmanager
async def listening(
    services: Services,
    *,
    title: str = "RECEIVER",
    syntaxes: tuple[str, ...] = STORAGE_TRANSFER_SYNTAXES,
    classes: Iterable[str] = storage_sop_classes(),
    window: int = 1,
) -> AsyncIterator[Acceptor]:
    """A Storage SCP of these services."""
    policy = AcceptorPolicy(
        supported=dict.fromkeys(classes, syntaxes),
        asynchronous_operations_window=AsynchronousOperationsWindow(window, window),
    )
    async with accepting(policy, services, title) as acceptor:
        yield acceptor


@asynccontextmanager
async def accepting(policy: AcceptorPolicy, services: Services, title: str) -> AsyncIterator[Acceptor]:
    options = AcceptorOptions(entities=(LocalEntity(title, policy),), port=0)
    acceptor = Acceptor(options, services)
    await acceptor.start()
    try:
        yield acceptor
    finally:
        await acceptor.stop(1.0)


def destination(
    port: int,
    *,
    title: str = "RECEIVER",
    options: RequestorOptions = DEFAULTS,
    syntaxes: tuple[str, ...] | None = None,
) -> Destination:
    """An application entity on this machine."""

    def open_association(
        contexts: Sequence[Context], called_as: str
    ) -> AbstractAsyncContextManager[Association]:
        return connect(
            "127.0.0.1",
            port,
            called_ae_title=title,
            calling_ae_title=called_as,
            contexts=contexts,
            options=options,
        )

    return Destination(title, open_association, syntaxes)


@dataclass
class Node:
    """A node that instances are retrieved from."""

    archive: Archive
    acceptor: Acceptor
    destinations: dict[str, Destination | None]
    counts: Counter[str]

    @asynccontextmanager
    async def association(
        self,
        model: str,
        *,
        storage_contexts: Iterable[Context] = (),
        receiver: Receiver | None = None,
        relational: bool = False,
        scp: bool = True,
        syntax: str = IMPLICIT_VR_LITTLE_ENDIAN,
        calling_ae_title: str = "VIEWER",
    ) -> AsyncIterator[Association]:
        """An association for one model, and as Storage SCP for these contexts."""
        proposed = tuple(storage_contexts)
        classes = dict.fromkeys(one.abstract_syntax for one in proposed)
        options = RequestorOptions(
            roles=tuple(RoleSelection(uid, not scp, scp) for uid in classes),
            extended=(SOPClassExtendedNegotiation(model, b"\1"),) if relational else (),
        )
        async with connect(
            "127.0.0.1",
            self.acceptor.port,
            called_ae_title="NODE",
            calling_ae_title=calling_ae_title,
            contexts=[Context(model, (syntax,)), *proposed],
            services=receiver.services() if receiver is not None else None,
            options=options,
        ) as association:
            yield association


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Node]:
    """A node on a new archive in `folder`."""
    archive = Archive.open(folder, ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    destinations: dict[str, Destination | None] = {}
    transcoder = Transcoder(archive, WorkerOptions(processes=1))
    retriever = Retriever(archive, transcoder)
    policy = AcceptorPolicy(
        supported=dict.fromkeys(MODELS, UNCOMPRESSED_TRANSFER_SYNTAXES)
        | dict.fromkeys(storage_sop_classes(), STORAGE_TRANSFER_SYNTAXES),
        roles=dict.fromkeys(storage_sop_classes(), RolePolicy(scu=True, scp=True)),
        extended_negotiation=dict.fromkeys(RELATIONAL, levels_are_free),
    )
    services = {
        **storage.services(archive),
        **move.services(retriever, destinations),
        **get.services(retriever),
    }
    try:
        async with accepting(policy, services, "NODE") as acceptor:
            yield Node(archive, acceptor, destinations, retriever.counts)
    finally:
        await transcoder.close()
        await archive.stop()


async def answers(
    association: Association,
    model: str,
    identifier: bytes | Mapping[str, object],
    to: str | None = "RECEIVER",
) -> list[SubOperationsResponse]:
    """Every answer to a C-MOVE, or to a C-GET where `to` is None."""
    return [response.command for response in await responses(association, model, identifier, to)]


async def responses(
    association: Association,
    model: str,
    identifier: bytes | Mapping[str, object],
    to: str | None = "RECEIVER",
) -> list[Response]:
    """The same with their data sets."""
    (context,) = association.contexts_for(model)
    command = CGetRq(0, model) if to is None else CMoveRq(0, model, to, 1)
    data: Buffer = identifier if isinstance(identifier, bytes) else encoded(identifier)
    invoked = association.requests(context.presentation_context_id, command, [data])
    return [response async for response in invoked]


async def read_by_peer() -> None:
    """Let the loop, which both sides share, read what the loopback device has delivered already."""
    for _ in range(10):
        await asyncio.sleep(0)


def counters(answer: SubOperationsResponse) -> tuple[int | None, int | None, int | None, int | None]:
    """Remaining, completed, failed, warning."""
    return (
        answer.number_of_remaining_suboperations,
        answer.number_of_completed_suboperations,
        answer.number_of_failed_suboperations,
        answer.number_of_warning_suboperations,
    )


def compressed(
    number: int, syntax: str, *, side: int = 8, pixels: bytes = bytes(range(128)), **more: object
) -> tuple[Dataset, bytes]:
    """A square image of 16 bits, its data set compressed by a codec that pydicom calls."""
    data_set = image(
        number,
        Rows=side,
        Columns=side,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
        **more,
    )
    data_set.PixelData = pixels
    data_set["PixelData"].VR = "OW"
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN
    data_set.compress(syntax, generate_instance_uid=False)
    return data_set, encoded(data_set, implicit=False)

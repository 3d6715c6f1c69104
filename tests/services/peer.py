"""A peer in this process for what asks it: an archive that is retrieved from, scripted answers to queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.association.acceptor import Acceptor
from dicomwire.association.performer import Request, Services
from dicomwire.dimse.command import (
    CFindRq,
    CFindRsp,
    NActionRq,
    NActionRsp,
    NCreateRq,
    NCreateRsp,
    NDeleteRq,
    NDeleteRsp,
    NEventReportRq,
    NEventReportRsp,
    NGetRq,
    NGetRsp,
    NSetRq,
    NSetRsp,
)
from dicomwire.services import get, move, storage, verification
from dicomwire.services.identifier import Collector
from dicomwire.services.models import Root
from dicomwire.services.move import Destination
from dicomwire.services.retrieval import Retriever, levels_are_free
from dicomwire.services.selection import MODELS, RELATIONAL
from dicomwire.uids import (
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_sop_classes,
)
from dicomwire.upper_layer.negotiation import AcceptorPolicy, RolePolicy
from tests.services.retrieving import accepting, decoded, encoded

MPPS = "1.2.840.10008.3.1.2.3.3"
FINDS = (Root.STUDY.value.find, Root.PATIENT.value.find, Root.WORKLIST.value.find)


@dataclass
class Finder:
    """Answers queries with what it was given.

    Attributes:
        answers: data sets of the pending answers.
        status, comment, offending: of the final answer.
        asked: the identifiers.
        cancelled: how many answers had gone when a C-CANCEL came, for each query.
        endless: goes on with the last answer until it is cancelled.
        ended: a query was cancelled.
        garbage: one more answer, as it is.
        deaf: a C-CANCEL is not heard.
    """

    answers: list[Dataset] = field(default_factory=list)
    status: int = 0
    comment: str | None = None
    offending: tuple[int, ...] = ()
    pending: int = 0xFF00
    endless: bool = False
    asked: list[Dataset] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    garbage: bytes = b""
    deaf: bool = False

    def services(self) -> Services:
        return {(uid, CFindRq): self.find for uid in FINDS}

    def find(self, request: Request) -> Collector:
        def whole(identifier: bytes | None) -> Coroutine[None, None, None]:
            return self._answer(request, identifier)

        return Collector(whole)

    async def _answer(self, request: Request, identifier: bytes | None) -> None:
        implicit = request.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
        self.asked.append(decoded(identifier, implicit=implicit))
        sent = 0
        while sent < len(self.answers) or self.endless:
            if request.cancelled and not self.deaf:
                self.cancelled.append(sent)
                self.ended.set()
                request.respond(CFindRsp(request.command.message_id, 0xFE00))
                return
            answer = self.answers[min(sent, len(self.answers) - 1)]
            pending = CFindRsp(request.command.message_id, self.pending, data_set=True)
            await request.send(pending, [encoded(answer, implicit=implicit)])
            sent += 1
            await asyncio.sleep(0)
        if self.garbage:
            pending = CFindRsp(request.command.message_id, self.pending, data_set=True)
            await request.send(pending, [self.garbage])
        request.respond(
            CFindRsp(
                request.command.message_id,
                self.status,
                error_comment=self.comment,
                offending_element=self.offending,
            )
        )


@dataclass
class Steps:
    """Answers the DIMSE-N services, and remembers what was asked."""

    asked: list[object] = field(default_factory=list)
    data: list[Dataset] = field(default_factory=list)
    status: int = 0

    def services(self) -> Services:
        answers: dict[type, Callable[[int], object]] = {
            NCreateRq: lambda id: NCreateRsp(id, self.status, affected_sop_instance_uid="1.2.3.4.5"),
            NSetRq: lambda id: NSetRsp(id, self.status),
            NGetRq: lambda id: NGetRsp(id, self.status, data_set=True),
            NActionRq: lambda id: NActionRsp(id, self.status),
            NDeleteRq: lambda id: NDeleteRsp(id, self.status),
            NEventReportRq: lambda id: NEventReportRsp(id, self.status),
        }
        return {(MPPS, kind): self._service(answer) for kind, answer in answers.items()}  # type: ignore[misc]

    def _service(self, answer: Callable[[int], object]) -> Callable[[Request], object]:
        def perform(request: Request) -> object:
            command = request.command
            self.asked.append(command)
            implicit = request.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN

            def respond() -> None:
                data = {"PatientID": "7"} if isinstance(command, NGetRq) else None
                pieces = [encoded(data, implicit=implicit)] if data else None
                request.respond(answer(command.message_id), pieces)  # type: ignore[arg-type]

            async def whole(content: bytes | None) -> None:
                self.data.append(decoded(content, implicit=implicit))
                respond()

            if command.data_set:
                return Collector(whole)
            respond()
            return None

        return perform


@dataclass
class Peer:
    """The peer and what can be told it."""

    acceptor: Acceptor
    archive: Archive
    finder: Finder
    steps: Steps
    destinations: dict[str, Destination | None]

    @property
    def address(self) -> str:
        return f"PEER@127.0.0.1:{self.acceptor.port}"


@asynccontextmanager
async def peering(folder: Path, syntaxes: tuple[str, ...] = STORAGE_TRANSFER_SYNTAXES) -> AsyncIterator[Peer]:
    """A peer on a new archive in `folder`, which takes everything there is."""
    archive = Archive.open(folder, ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    finder, steps = Finder(), Steps()
    destinations: dict[str, Destination | None] = {}
    retriever = Retriever(archive)
    services = {
        **verification.SERVICES,
        **storage.services(archive),
        **move.services(retriever, destinations),
        **get.services(retriever),
        **finder.services(),
        **steps.services(),
    }
    policy = AcceptorPolicy(
        supported=dict.fromkeys((*MODELS, *FINDS, VERIFICATION, MPPS), UNCOMPRESSED_TRANSFER_SYNTAXES)
        | dict.fromkeys(storage_sop_classes(), syntaxes),
        roles=dict.fromkeys((*storage_sop_classes(), MPPS), RolePolicy(scu=True, scp=True)),
        extended_negotiation=dict.fromkeys((*RELATIONAL, *FINDS), levels_are_free),
    )
    try:
        async with accepting(policy, services, "PEER") as acceptor:
            yield Peer(acceptor, archive, finder, steps, destinations)
    finally:
        await archive.stop()

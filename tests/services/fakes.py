"""Small stand-ins for an association and the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace

from dicomwire.access.identity import Identity
from dicomwire.archive.archive import Outcome, Verdict
from dicomwire.association.invoker import Response
from dicomwire.dimse.command import COMMANDS, Command, CStoreRq, CStoreRsp
from dicomwire.errors import AssociationError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.upper_layer.negotiation import AcceptedContext
from dicomwire.upper_layer.pdu import Buffer

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


class FakeAssociation:
    """Takes what is sent, answers with what `answer` says, counts pauses."""

    def __init__(
        self,
        contexts: Iterable[AcceptedContext] = (),
        *,
        answer: Callable[[CStoreRq, bytes], Response] | None = None,
        window: int = 1,
        identity: Identity | None = None,
        calling_ae_title: str = "MODALITY",
    ) -> None:
        self.id = "fake"
        self.requestor = True
        self.peer = "192.0.2.1:104"
        self.called_ae_title = "DICOMWIRE"
        self.calling_ae_title = calling_ae_title
        self.identity = identity
        self.agreement = SimpleNamespace(invoke=window)
        self.contexts = {context.presentation_context_id: context for context in contexts}
        self.ended: AssociationError | None = None
        self.paused = 0
        self.sent: list[tuple[int, Command, bytes]] = []
        self.under_way = self.most_under_way = 0
        self._room = asyncio.Semaphore(window or 1000)
        self._answer = answer or (lambda command, data: Response(CStoreRsp(command.message_id, 0)))

    def pause(self) -> None:
        self.paused += 1

    def resume(self) -> None:
        self.paused -= 1

    def contexts_for(self, abstract_syntax: str) -> list[AcceptedContext]:
        return [context for context in self.contexts.values() if context.abstract_syntax == abstract_syntax]

    def prepare(
        self, context_id: int, command: CStoreRq, data: Iterable[Buffer] | None = None
    ) -> tuple[int, CStoreRq, Iterable[Buffer] | None]:
        return context_id, command, data

    async def invoke(self, made: Callable[[], tuple[int, CStoreRq, Iterable[Buffer] | None]]) -> Response:
        async with self._room:
            if self.ended is not None:
                raise self.ended
            return await self.request(*made())

    async def request(
        self, context_id: int, command: CStoreRq, data: Iterable[Buffer] | None = None
    ) -> Response:
        if self.ended is not None:
            raise self.ended
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        content = b"".join(bytes(piece) for piece in data or ())
        self.sent.append((context_id, command, content))
        await asyncio.sleep(0)
        self.under_way -= 1
        try:
            return self._answer(command, content)
        except AssociationError as error:
            self.ended = error
            raise


class FakeRequest:
    """An incoming request that keeps its answers."""

    def __init__(self, association: FakeAssociation, context: AcceptedContext, command: Command) -> None:
        self.association = association
        self.context = context
        self.command = command
        self.cancelled = False
        self.answers: list[Command] = []

    def respond(self, response: Command, data: Iterable[Buffer] | None = None, *, final: bool = True) -> None:
        assert not self.answers, "one final answer a request"
        self.answers.append(response)

    def refuse(self, status: int, error_comment: str) -> None:
        response = COMMANDS[self.command.command_field | 0x8000]
        self.respond(response(self.command.message_id, status, error_comment=error_comment))


class FakeReception:
    """Takes bytes; congested from a number of them on until somebody waited."""

    def __init__(self, room: int) -> None:
        self.data = bytearray()
        self.aborted = False
        self.done: Callable[[Outcome], None] | None = None
        self.drained = asyncio.Event()
        self._room = room

    @property
    def congested(self) -> bool:
        return len(self.data) > self._room and not self.drained.is_set()

    def write(self, data: Buffer) -> None:
        self.data += data

    def finish(self, done: Callable[[Outcome], None]) -> None:
        self.done = done

    def abort(self) -> None:
        self.aborted = True

    async def drain(self) -> None:
        await self.drained.wait()


class FakeArchive:
    """Hands out receptions and keeps what they were for."""

    def __init__(self, room: int = 1 << 30, error: Exception | None = None) -> None:
        self.receptions: list[FakeReception] = []
        self.asked: list[dict[str, object]] = []
        self._room = room
        self._error = error

    def receive(self, **asked: object) -> FakeReception:
        if self._error is not None:
            raise self._error
        self.asked.append(asked)
        self.receptions.append(FakeReception(self._room))
        return self.receptions[-1]


def context(
    abstract_syntax: str = CT, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, number: int = 1
) -> AcceptedContext:
    return AcceptedContext(number, abstract_syntax, transfer_syntax)


def outcome(
    verdict: Verdict, comment: str = "", sop_class_uid: str = CT, sop_instance_uid: str = "1.2.3"
) -> Outcome:
    return Outcome(
        verdict=verdict,
        comment=comment,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid="1.2.4",
        series_instance_uid="1.2.5",
        record_id=None,
    )


class ReadyReception(FakeReception):
    """Stores at once."""

    def __init__(self, archive: ReadyArchive, sop_instance_uid: str) -> None:
        super().__init__(1 << 40)
        self._archive = archive
        self._sop_instance_uid = sop_instance_uid

    def finish(self, done: Callable[[Outcome], None]) -> None:
        self._archive.stored[self._sop_instance_uid] = bytes(self.data)
        done(outcome(Verdict.STORED))


class ReadyArchive:
    """Keeps data sets by SOP Instance UID."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.syntaxes: dict[str, str] = {}

    def receive(self, *, sop_instance_uid: str, transfer_syntax_uid: str, **_: object) -> ReadyReception:
        self.syntaxes[sop_instance_uid] = transfer_syntax_uid
        return ReadyReception(self, sop_instance_uid)

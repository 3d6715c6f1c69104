"""Storage SCP of a requestor: instances of a C-GET, or of a C-MOVE to ourselves (PS3.4 B, C.4.3).

Each instance is spooled while it comes, and answered when whoever receives it has it: a `Mailbox` when there
is room for it, a `folder.Folder` when its file is whole, synced and named. The archive's own Storage SCP is
`storage`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Generic, Protocol, TypeVar, runtime_checkable

from dicomwire.association.performer import Request, Services
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.dimse import status
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.errors import DicomwireError
from dicomwire.uids import is_valid_uid

IN_MEMORY: Final = 4 << 20  # bytes of a spooled instance, beyond which it is a temporary file
MOST_WAITING: Final = 4  # instances that a mailbox holds before nothing more is answered


class NotTaken(DicomwireError):
    """An instance that is refused.

    Attributes:
        status: to answer it with.
    """

    def __init__(self, comment: str, status: int) -> None:
        super().__init__(comment)
        self.status = status


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a C-STORE request says of the instance it brings."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae_title: str

    @property
    def file_meta(self) -> bytes:
        """What stands before the data set in a file (PS3.10 7.1)."""
        return write_file_meta(
            self.sop_class_uid,
            self.sop_instance_uid,
            self.transfer_syntax_uid,
            source_ae_title=self.source_ae_title,
        )


@runtime_checkable
class Receiver(Protocol):
    """Where instances go."""

    def open(self, arrival: Arrival) -> IO[bytes]:
        """A file to spool a Part 10 file in; closing it is the receiver's, or of nobody else.

        Raises: NotTaken.
        """

    async def keep(self, arrival: Arrival, spool: IO[bytes]) -> str | None:
        """The file is whole.

        Returns: words to go with the success, if it needs any.
        Raises: NotTaken.
        """

    def drop(self, spool: IO[bytes]) -> None:
        """The rest of the file will never come."""


def services(receiver: Callable[[], Receiver]) -> Services:
    """A Storage SCP for every context with a storage SOP class.

    Args:
        receiver: asked for each instance; raises NotTaken to refuse it.
    """

    def receive(request: Request) -> Spooling | None:
        command = request.command
        if not isinstance(command, CStoreRq):
            return None
        try:
            return Spooling(request, command, receiver())
        except NotTaken as refusal:
            _answer(request, command, refusal.status, str(refusal))
            return None

    return {("*", CStoreRq): receive}


class Spooling:
    """The data set of one C-STORE on its way into a receiver; the sink of its request."""

    __slots__ = ("_arrival", "_command", "_fault", "_receiver", "_request", "_spool")

    def __init__(self, request: Request, command: CStoreRq, receiver: Receiver) -> None:
        if command.affected_sop_class_uid != request.context.abstract_syntax:
            what = "Affected SOP Class UID is not the presentation context's"
            raise NotTaken(what, status.DOES_NOT_MATCH_SOP_CLASS)
        if not is_valid_uid(command.affected_sop_instance_uid) or not command.data_set:
            what = "No instance: its UID is none, or there is no data set"
            raise NotTaken(what, status.CANNOT_UNDERSTAND)
        association = request.association
        peer = association.called_ae_title if association.requestor else association.calling_ae_title
        self._request = request
        self._command = command
        self._receiver = receiver
        self._arrival = Arrival(
            command.affected_sop_class_uid,
            command.affected_sop_instance_uid,
            request.context.transfer_syntax,
            peer,
        )
        self._fault = ""
        self._spool = receiver.open(self._arrival)
        self._spool.write(self._arrival.file_meta)

    def write(self, data: memoryview) -> None:
        """Spool the next bytes; what cannot be written is read past, and refused at the end."""
        if self._fault:
            return
        try:
            self._spool.write(data)
        except OSError as error:
            self._fault = f"Cannot be written: {error.strerror or error}"

    def finish(self) -> Coroutine[None, None, None] | None:
        """All has come."""
        if self._fault:
            self._receiver.drop(self._spool)
            _answer(self._request, self._command, status.OUT_OF_RESOURCES, self._fault)
            return None
        return self._keep()

    def abort(self, reason: str) -> None:
        """The rest will never come."""
        self._receiver.drop(self._spool)

    async def _keep(self) -> None:
        code, comment = status.SUCCESS, None
        try:
            comment = await self._receiver.keep(self._arrival, self._spool)
        except NotTaken as refusal:
            code, comment = refusal.status, str(refusal)
        except OSError as error:
            code, comment = status.OUT_OF_RESOURCES, f"Cannot be kept: {error.strerror or error}"
        except BaseException:
            self._receiver.drop(self._spool)
            raise
        if code != status.SUCCESS:
            self._receiver.drop(self._spool)
        _answer(self._request, self._command, code, comment)


def _answer(request: Request, command: CStoreRq, code: int, comment: str | None = None) -> None:
    uids = (command.affected_sop_class_uid, command.affected_sop_instance_uid)
    sop_class_uid, sop_instance_uid = (uid if is_valid_uid(uid) else None for uid in uids)
    request.respond(
        CStoreRsp(
            command.message_id,
            code,
            affected_sop_class_uid=sop_class_uid,
            affected_sop_instance_uid=sop_instance_uid,
            error_comment=comment,
        )
    )


# In memory


class Received:
    """An instance that has come: a Part 10 file in memory or, when it is large, in a temporary file.

    That goes with it, or with `close`.

    Attributes:
        length: bytes of the file.
    """

    def __init__(self, arrival: Arrival, spool: IO[bytes]) -> None:
        self._arrival = arrival
        self._spool = spool
        self.length = spool.seek(0, os.SEEK_END)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Free its memory or its file."""
        self._spool.close()

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID."""
        return self._arrival.sop_class_uid

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return self._arrival.sop_instance_uid

    @property
    def transfer_syntax_uid(self) -> str:
        """In which the data set came."""
        return self._arrival.transfer_syntax_uid

    def open(self) -> IO[bytes]:
        """The Part 10 file, at its first byte."""
        self._spool.seek(0)
        return self._spool

    def part10(self) -> bytes:
        """The Part 10 file; mind its length."""
        return self.open().read()

    def data_set(self) -> bytes:
        """The data set as it came; mind its length."""
        return self.part10()[len(self._arrival.file_meta) :]

    def save(self, path: Path | str) -> None:
        """Write the Part 10 file."""
        source = self.open()
        with Path(path).open("wb") as target:
            while piece := source.read(1 << 20):
                target.write(piece)


Item = TypeVar("Item", bound=Received)


class Mailbox(Generic[Item]):
    """Instances for whoever iterates; what is beyond `MOST_WAITING` is not answered yet."""

    def __init__(self, make: Callable[[Arrival, IO[bytes]], Item]) -> None:
        """Prepare.

        Args:
            make: of what has come what `take` gives.
        """
        self._make = make
        self._waiting: asyncio.Queue[Item | None] = asyncio.Queue(MOST_WAITING)
        self._closed = False

    def open(self, arrival: Arrival) -> IO[bytes]:
        """A spool in memory, or a temporary file."""
        if self._closed:
            raise NotTaken("The receiver wants nothing more", status.OUT_OF_RESOURCES)
        return tempfile.SpooledTemporaryFile(IN_MEMORY)

    async def keep(self, arrival: Arrival, spool: IO[bytes]) -> None:
        """Wait for room."""
        if self._closed:
            raise NotTaken("The receiver wants nothing more", status.OUT_OF_RESOURCES)
        await self._waiting.put(self._make(arrival, spool))

    def drop(self, spool: IO[bytes]) -> None:
        """Forget it."""
        spool.close()

    async def take(self) -> Item | None:
        """The next instance, None behind the last."""
        return await self._waiting.get()

    async def end(self) -> None:
        """Nothing more will come."""
        if not self._closed:
            await self._waiting.put(None)

    def close(self) -> None:
        """Nothing more is wanted: what waits is dropped, what comes is refused."""
        self._closed = True
        while not self._waiting.empty():
            self._waiting.get_nowait()

"""One instance on its way from a request's body into the archive (PS3.18 10.5, PS3.10 7.1).

Only the file meta information is kept here. What it says decides whether the data set is taken at all; of a
refused instance the rest is let pass unread, so that those behind it still arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dicomwire.archive.archive import Archive, Origin, Outcome, Reception, Verdict
from dicomwire.dicom.encoding import Buffer
from dicomwire.errors import Part10Error
from dicomwire.uids import SOP_CLASSES, is_valid_uid, name_of
from dicomwire.web.identity import Identity, read_identity
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import shown
from dicomwire.web.store_response import Failure, Reason, Result, result_of

_FIRST_READ: Final = 512  # bytes; meta information is read again only when twice as many are there
MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"


class Upload:
    """Receives one Part 10 file.

    Either `finish` or `abort` ends it.
    """

    def __init__(self, archive: Archive, options: WebOptions, origin: Origin, study: str | None) -> None:
        """study: the only Study Instance UID taken, from the request's URL; None takes any."""
        self._archive = archive
        self._options = options
        self._origin = origin
        self._study = study
        self._head: bytearray | None = bytearray()
        self._next_read = _FIRST_READ
        self._reception: Reception | None = None
        self._budget: Reception | None = None  # asked for room, also when the file is complete
        self._identity: Identity | None = None
        self._failure: Failure | None = None

    def refuse(self, reason: Reason, comment: str) -> None:
        """What comes is not wanted, whatever it is."""
        self._head = None
        self._failure = self.failure(reason, comment)

    def failure(self, reason: Reason, comment: str) -> Failure:
        """A failure of this instance, named as far as it is known."""
        if self._identity is None or not is_valid_uid(self._identity.sop_instance_uid):
            return Failure(reason, comment)
        sop_class = self._identity.sop_class_uid
        named = sop_class if is_valid_uid(sop_class) else ""
        return Failure(reason, comment, named, self._identity.sop_instance_uid)

    def write(self, data: memoryview) -> None:
        """Takes the next bytes of the file; they are valid only during the call."""
        if self._reception is not None:
            self._reception.write(data)
        elif self._head is not None:
            head: Buffer = data
            if self._head:
                self._head += data
                head = self._head
            if len(head) >= self._next_read:
                self._next_read = len(head) * 2
                self._begin(head, complete=False)
            if head is data and self._head is not None:  # more is needed to know whose it is
                self._head += data

    @property
    def congested(self) -> bool:
        """Whether complete instances fill the archive's budget until they are committed."""
        return self._budget is not None and self._budget.congested

    async def drain(self) -> None:
        """Waits for room in the archive's budget."""
        if self._budget is not None:
            await self._budget.drain()

    def finish(self, done: Callable[[Result], None]) -> None:
        """The file is complete. `done` is called with what becomes of it, at once or later."""
        if self._head is not None:
            self._begin(self._head, complete=True)
        if self._reception is None:
            assert self._failure is not None
            done(self._failure)
            return
        reception, self._reception = self._reception, None
        reception.finish(lambda outcome: done(self._judged(outcome)))

    def abort(self) -> None:
        """The file will not be completed."""
        reception, self._reception, self._head = self._reception, None, None
        if reception is not None:
            reception.abort()

    def _begin(self, head: Buffer, *, complete: bool) -> None:
        """Reads who the instance is; once that is known its data set goes on into the archive."""
        try:
            identity = read_identity(head, complete=complete)
        except Part10Error as error:
            self.refuse(Reason.CANNOT_UNDERSTAND, str(error))
            return
        if identity is None:
            return
        self._identity = identity
        if refusal := _refusal(identity, self._options):
            self.refuse(*refusal)
            return
        self._reception = self._archive.receive(
            sop_class_uid=identity.sop_class_uid,
            sop_instance_uid=identity.sop_instance_uid,
            transfer_syntax_uid=identity.transfer_syntax_uid,
            origin=self._origin,
            study_instance_uid=self._study,
            head=bytes(head[: identity.data_set_offset]),
        )
        self._budget = self._reception
        self._head = None
        self._reception.write(memoryview(head)[identity.data_set_offset :])

    def _judged(self, outcome: Outcome) -> Result:
        study = outcome.study_instance_uid
        if outcome.verdict is Verdict.MISMATCH and study and self._study not in (None, study):
            return self.failure(Reason.OTHER_STUDY, outcome.comment)
        return result_of(outcome)


def _refusal(identity: Identity, options: WebOptions) -> tuple[Reason, str] | None:
    """Why an instance is not taken, whatever its data set holds."""
    sop_class, syntax = identity.sop_class_uid, identity.transfer_syntax_uid
    if sop_class == MEDIA_STORAGE_DIRECTORY:
        return Reason.SOP_CLASS_NOT_SUPPORTED, "a DICOMDIR is not an instance of a study"
    for keyword, uid in (("SOPClassUID", sop_class), ("SOPInstanceUID", identity.sop_instance_uid)):
        if not uid:
            return Reason.CANNOT_UNDERSTAND, f"{keyword} is missing"
        if not is_valid_uid(uid):
            return Reason.CANNOT_UNDERSTAND, f"{keyword} is {shown(uid, 40)}, no UID"
    if options.sop_classes is not None and sop_class not in options.sop_classes:
        row = SOP_CLASSES.get(sop_class)
        kind = "is not known" if row is None else "is refused" if row.storage else "is no storage SOP class"
        return Reason.SOP_CLASS_NOT_SUPPORTED, f"{name_of(sop_class)} {kind}"
    if syntax not in options.transfer_syntaxes:
        words = f"transfer syntax {name_of(syntax)[:30]} is not supported"
        return Reason.TRANSFER_SYNTAX_NOT_SUPPORTED, words
    return None

"""Asking a peer for storage commitment and waiting for what it reports (PS3.4 J)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

from dicomwire.association.association import Association
from dicomwire.association.requestor import Context
from dicomwire.cli import stow
from dicomwire.cli.connection import Flags, Peer
from dicomwire.cli.output import escaped, say
from dicomwire.dicom.data_set import from_json
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.identifier import Key
from dicomwire.services import models, querying, storage_commitment
from dicomwire.services.listening import taking_reports
from dicomwire.services.models import Level, Root
from dicomwire.services.normalized import Reply
from dicomwire.services.procedure_step import new_uid
from dicomwire.services.storage_commitment import STORAGE_COMMITMENT, receiving
from dicomwire.services.telling import SYNTAXES
from dicomwire.web import commitment_client
from dicomwire.web.client import WebClient
from dicomwire.work.commitment import FAILURE_WORDS, TRANSACTION_UID, FailureReason, Reference, Result
from dicomwire.work.refusal import Reason, Refused

STUDY, SERIES = TAGS["StudyInstanceUID"], TAGS["SeriesInstanceUID"]
SOP_CLASS, SOP_INSTANCE = TAGS["SOPClassUID"], TAGS["SOPInstanceUID"]
AT_ONCE = 1000  # instances of one transaction
HELD_OPEN = 10.0  # seconds that the association stays open where reports may come over another one


@dataclass(slots=True)
class Promise:
    """What a peer has committed itself to.

    Attributes:
        refused: words of the requests that it refused.
        unanswered: instances on which no report came in time.
    """

    committed: list[Reference] = field(default_factory=list)
    failed: list[tuple[Reference, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unanswered: list[Reference] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Everything is committed, and there was something."""
        return bool(self.committed) and not (self.failed or self.refused or self.unanswered)

    def take(self, result: Result, asked: set[Reference]) -> None:
        """Count what a result says of the instances that were asked for, and what it does not."""
        committed = [reference for reference in result.committed if reference in asked]
        failed = [(reference, reason) for reference, reason in result.failed if reference in asked]
        self.committed += committed
        self.failed += failed
        self.unanswered += sorted(asked - {*committed, *(reference for reference, _ in failed)})

    def facts(self) -> dict[str, object]:
        """For programs."""
        return {
            "complete": self.complete,
            "committed": [reference.sop_instance_uid for reference in self.committed],
            "failed": [
                {
                    "sop_instance_uid": reference.sop_instance_uid,
                    "failure_reason": f"{reason:04X}",
                    "reason": failure_words(reason),
                }
                for reference, reason in self.failed
            ],
            "unanswered": [reference.sop_instance_uid for reference in self.unanswered],
            "refused": self.refused,
        }

    def show(self, peer: str) -> None:
        """For people: what is not committed on stderr, the sum on stdout."""
        for reference, reason in self.failed:
            say(f"{reference.sop_instance_uid}: not committed: {failure_words(reason)}")
        for words in self.refused:
            say(f"request refused: {escaped(words)}")
        counts = {
            "committed": len(self.committed),
            "not committed": len(self.failed),
            "without a report": len(self.unanswered),
        }
        words = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        print(f"{peer}: {words or 'nothing committed'}")


def failure_words(reason: int) -> str:
    """A Failure Reason in words."""
    try:
        return f"{reason:04X}H {FAILURE_WORDS[FailureReason(reason)]}"
    except ValueError:
        return f"{reason:04X}H"


async def ask(
    target: str | Peer,
    flags: Flags,
    references: Sequence[Reference],
    *,
    wait: float,
    listen: tuple[str, int] | None,
) -> Promise:
    """Ask a peer, or the DICOMweb service at a URL, to commit itself; arguments and errors as below."""
    if isinstance(target, Peer):
        return await _ask_peer(target, references, wait=wait, listen=listen)
    async with stow.service(target, flags.access, flags.timeout) as client:
        return await _ask_service(client, references, wait=wait)


async def _ask_peer(
    peer: Peer, references: Sequence[Reference], *, wait: float, listen: tuple[str, int] | None
) -> Promise:
    """Ask a peer to commit itself to instances.

    Args:
        wait: seconds for the reports.
        listen: host and port where reports over associations of the peer's own are taken.

    Raises: AssociationError, when the peer cannot be asked; ConnectionFailed, when the port is taken.
    """
    promise = Promise()
    reports: asyncio.Queue[Result] = asyncio.Queue()
    outstanding: dict[str, set[Reference]] = {}
    transactions: set[str] = set()  # those that are over too: a report may come twice

    def reported(result: Result, now: float) -> None:
        if result.transaction_uid not in transactions:
            raise Refused(Reason.INVALID_ARGUMENT, "Unknown Transaction UID", (TRANSACTION_UID,))
        reports.put_nowait(result)

    services = receiving(reported)
    async with AsyncExitStack() as stack:
        if listen is not None:
            await stack.enter_async_context(
                taking_reports(peer.calling_ae_title, *listen, STORAGE_COMMITMENT, services)
            )
        deadline = asyncio.get_running_loop().time() + wait
        async with peer.connect([Context(STORAGE_COMMITMENT, SYNTAXES)], services=services) as association:
            for start in range(0, len(references), AT_ONCE):
                part = references[start : start + AT_ONCE]
                uid = new_uid()
                outstanding[uid] = set(part)
                transactions.add(uid)
                reply: Reply = await storage_commitment.ask(association, uid, part)
                if not reply.performed:
                    del outstanding[uid]
                    promise.refused.append(reply.words)
            here = min(deadline, asyncio.get_running_loop().time() + HELD_OPEN) if listen else deadline
            await _collect(reports, outstanding, promise, here)
        await _collect(reports, outstanding, promise, deadline)
    promise.unanswered += [reference for rest in outstanding.values() for reference in rest]
    return promise


async def _ask_service(client: WebClient, references: Sequence[Reference], *, wait: float) -> Promise:
    """Ask a DICOMweb service to commit itself to instances (PS3.18 13).

    wait: seconds for the results, all together.
    Raises: WebServiceError.
    """
    promise = Promise()
    deadline = asyncio.get_running_loop().time() + wait
    for start in range(0, len(references), AT_ONCE):
        part = set(references[start : start + AT_ONCE])
        rest = max(0.0, deadline - asyncio.get_running_loop().time())
        promise.take(await commitment_client.ask(client, new_uid(), sorted(part), wait=rest), part)
    return promise


async def _study_of_service(client: WebClient, study_instance_uid: str) -> list[Reference]:
    path = f"studies/{study_instance_uid}/instances"
    async with aclosing(client.search(path, fields=("SOPClassUID", "SOPInstanceUID"))) as matches:
        found = [from_json(json.dumps(match)) async for match in matches]
    return [Reference(each.text(SOP_CLASS), each.text(SOP_INSTANCE)) for each in found]


async def _collect(
    reports: asyncio.Queue[Result],
    outstanding: dict[str, set[Reference]],
    promise: Promise,
    deadline: float,
) -> None:
    """Take reports until all are there or it is time."""
    try:
        async with asyncio.timeout_at(deadline):
            while outstanding:
                result = await reports.get()
                rest = outstanding.pop(result.transaction_uid, None)
                if rest is None:
                    continue
                promise.take(result, rest)
    except TimeoutError:
        pass


async def study_of(target: str | Peer, flags: Flags, study_instance_uid: str) -> list[Reference]:
    """The instances of a study, as a peer, or the service at a URL, names them itself.

    Raises: AssociationError, when a peer cannot be asked; OperationFailed, when it refuses; DataSetError or
        InvalidAttribute, when an answer cannot be read; WebServiceError, when a service refuses.
    """
    if isinstance(target, Peer):
        return await _study_of_peer(target, study_instance_uid)
    async with stow.service(target, flags.access, flags.timeout) as client:
        return await _study_of_service(client, study_instance_uid)


async def _study_of_peer(peer: Peer, study_instance_uid: str) -> list[Reference]:
    """By C-FIND: series, then instances of each."""
    references: list[Reference] = []
    async with peer.connect([Context(Root.STUDY.value.find, SYNTAXES)]) as association:
        study = [Key((STUDY,), study_instance_uid, given=True)]
        for (series_uid,) in await _found(association, study, Level.SERIES, (SERIES,)):
            series = [*study, Key((SERIES,), series_uid, given=True)]
            for pair in await _found(association, series, Level.IMAGE, (SOP_CLASS, SOP_INSTANCE)):
                references.append(Reference(*pair))
    return references


async def _found(
    association: Association, keys: Sequence[Key], level: Level, wanted: tuple[int, ...]
) -> list[tuple[str, ...]]:
    """Values of some attributes of each match."""
    asked = models.query([*keys, *(Key((tag,)) for tag in wanted)], Root.STUDY, level)
    found = []
    async with aclosing(querying.find(association, Root.STUDY.value.find, asked)) as matches:
        async for match in matches:
            values = match.values()
            found.append(tuple("\\".join(values.get((tag,), ())) for tag in wanted))
    return found


def references_of(pairs: Iterable[tuple[str, str]]) -> list[Reference]:
    """SOP class and instance UIDs, each once."""
    return list(dict.fromkeys(Reference(*pair) for pair in pairs))

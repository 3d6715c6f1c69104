"""On request: query the peer, store a test object there, and have it moved back to us (PS3.4 B, C)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Final

from dicomwire.association.association import Association
from dicomwire.association.requestor import Context
from dicomwire.diagnose.finding import Evidence, Outcome, Side, Story
from dicomwire.diagnose.rules import RULE_OF, Hit
from dicomwire.dicom import data_set
from dicomwire.dicom.identifier import Key
from dicomwire.dimse import status
from dicomwire.dimse.command import CStoreRq
from dicomwire.doctor.attempt import Attempt, Proposal, Work, with_verdict
from dicomwire.doctor.options import ExaminationOptions
from dicomwire.doctor.report import Result, Step
from dicomwire.doctor.variants import SECONDARY_CAPTURE, STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from dicomwire.errors import NoAcceptedContext, OperationFailed
from dicomwire.services import models, querying, retrieving
from dicomwire.services.data_sets import ReceivedInstance
from dicomwire.services.listening import listen
from dicomwire.services.models import Level, Root
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

STUDY: Final = 0x0020000D
SIDE: Final = 256  # pixels of the test object, which fills many packets
SMALL_SIDE: Final = 8  # pixels of one that fits in a packet with its command
HANGS: Final = frozenset({"dimse-no-response", "tcp-stalled"})  # causes that a narrow way may be behind
UNCOMPRESSED: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

Ask = Callable[[Proposal, Work | None], Awaitable[Attempt]]


@dataclass(frozen=True, slots=True)
class TestObject:
    """A secondary capture that nobody takes for a patient's."""

    study: str
    series: str
    instance: str
    side: int = SIDE

    def encoded(self, transfer_syntax_uid: str, moment: float) -> bytes:
        """Its data set."""
        day = time.strftime("%Y%m%d", time.gmtime(moment))
        values: dict[str, tuple[str, list[object]]] = {
            "00080016": ("UI", [SECONDARY_CAPTURE]),
            "00080018": ("UI", [self.instance]),
            "00080020": ("DA", [day]),
            "00080030": ("TM", ["000000"]),
            "00080050": ("SH", ["DOCTOR"]),
            "00080060": ("CS", ["OT"]),
            "00080064": ("CS", ["SYN"]),
            "00080090": ("PN", []),
            "00100010": ("PN", [{"Alphabetic": "TEST^DICOMWIRE DOCTOR"}]),
            "00100020": ("LO", ["DICOMWIRE-DOCTOR"]),
            "00100030": ("DA", []),
            "00100040": ("CS", ["O"]),
            "0020000D": ("UI", [self.study]),
            "0020000E": ("UI", [self.series]),
            "00200010": ("SH", ["DOCTOR"]),
            "00200011": ("IS", [1]),
            "00200013": ("IS", [1]),
            "00200020": ("CS", []),
            "00280002": ("US", [1]),
            "00280004": ("CS", ["MONOCHROME2"]),
            "00280010": ("US", [self.side]),
            "00280011": ("US", [self.side]),
            "00280100": ("US", [8]),
            "00280101": ("US", [8]),
            "00280102": ("US", [7]),
            "00280103": ("US", [0]),
        }
        found: dict[str, object] = {tag: {"vr": vr, "Value": value} for tag, (vr, value) in values.items()}
        pixels = base64.b64encode(bytes(self.side * self.side)).decode()
        found["7FE00010"] = {"vr": "OB", "InlineBinary": pixels}
        return data_set.encode(data_set.from_json(json.dumps(found)), transfer_syntax_uid)


def test_object() -> TestObject:
    """A new one: UIDs of UUIDs, PS3.5 B.2."""
    study, series, instance = (f"2.25.{uuid.uuid4().int}" for _ in range(3))
    return TestObject(study, series, instance)


async def run(
    ask: Ask, proposal: Proposal, options: ExaminationOptions, mark: Callable[[], float]
) -> tuple[list[Step], Story | None]:
    """What was asked for, in an order in which each finds what the one before left.

    Args:
        proposal: to ask with; its contexts and budget are replaced.
        mark: seconds since the examination began.

    Returns: the steps, and the story of the first that failed.
    """
    course = _Course(ask, replace(proposal, budget=options.wait), mark, test_object())
    steps = []
    if options.store or options.move_port is not None:
        steps += await course.store_whatever_fits()
    if options.query:
        steps.append(await course.step("query", (Context(STUDY_ROOT_FIND, UNCOMPRESSED),), course.query))
    if options.move_port is not None and steps[0].result is Result.OK:
        steps.append(await course.move_back(options.move_port))
    return steps, course.failed


class _Course:
    def __init__(self, ask: Ask, proposal: Proposal, mark: Callable[[], float], instance: TestObject) -> None:
        self._ask = ask
        self._proposal = proposal
        self._mark = mark
        self._object = instance
        self._words = ""
        self.failed: Story | None = None

    async def store_whatever_fits(self) -> list[Step]:
        """The test object; where that is not answered, a small one: does the way take large packets?"""
        contexts = (Context(SECONDARY_CAPTURE, UNCOMPRESSED),)
        large = await self.step("store", contexts, self.store)
        if large.finding is None or large.finding.code not in HANGS:
            return [large]
        self._object = replace(self._object, side=SMALL_SIDE)
        small = await self.step("store of a small object", contexts, self.store)
        if small.result is not Result.OK:
            return [large, small]
        values = {"sender": Side.REQUESTOR, "size": f"{SIDE * SIDE:,}"}
        evidence = (Evidence(what=large.words), Evidence(what=small.words))
        finding = RULE_OF["path-mtu"].finding(Hit(values=values, evidence=evidence))
        self.failed = with_verdict(self.failed, finding) if self.failed else None
        return [replace(large, words=finding.summary, finding=finding), small]

    async def step(self, name: str, contexts: tuple[Context, ...], work: Work) -> Step:
        """One association with one thing to do on it."""
        began = self._mark()
        self._words = ""

        async def done(association: Association) -> None:
            # What a status means the rules say, from the trace.
            with suppress(OperationFailed, NoAcceptedContext):
                await work(association)

        tried = await self._ask(replace(self._proposal, contexts=contexts), done)
        failed = not self._words or (tried.story is not None and tried.story.outcome is Outcome.FAILED)
        if failed and self.failed is None:
            self.failed = tried.story
        words = tried.finding.summary if tried.finding else self._words or "it did not succeed"
        return Step(
            name=name,
            result=Result.FAILED if failed else Result.OK,
            words=words,
            began=began,
            seconds=self._mark() - began,
            finding=tried.finding,
        )

    async def store(self, association: Association) -> None:
        """C-STORE of the test object."""
        context = querying.context_of(association, SECONDARY_CAPTURE)
        data = self._object.encoded(context.transfer_syntax, time.time())
        command = CStoreRq(0, SECONDARY_CAPTURE, self._object.instance)
        began = self._mark()
        answer = await association.request(context.presentation_context_id, command, (data,))
        if status.status_class(status.STORE, answer.status) is not status.StatusClass.FAILURE:
            self._words = f"a test object of {len(data)} bytes was stored in {self._since(began)}"

    async def query(self, association: Association) -> None:
        """C-FIND of one study, which is the test object's if it was stored."""
        keys = models.query([Key((STUDY,), self._object.study)], Root.STUDY, Level.STUDY)
        began, count = self._mark(), 0
        async with aclosing(querying.find(association, STUDY_ROOT_FIND, keys, limit=5)) as matches:
            async for _ in matches:
                count += 1
        self._words = f"C-FIND answered with {count} matches in {self._since(began)}"

    async def move_back(self, port: int) -> Step:
        """C-MOVE of the test object to our calling AE title, where we listen."""
        arrived = asyncio.Event()

        async def take(instance: ReceivedInstance) -> None:
            arrived.set()

        async def move(association: Association) -> None:
            keys = models.retrieval([Key((STUDY,), self._object.study)], Root.STUDY, Level.STUDY)
            steps = retrieving.move(association, STUDY_ROOT_MOVE, keys, self._proposal.calling_ae_title)
            began = self._mark()
            async for _ in steps:
                pass
            if arrived.is_set():
                self._words = f"the test object came back in {self._since(began)}"

        title = self._proposal.calling_ae_title
        host = "127.0.0.1" if self._proposal.host.startswith("127.") else "0.0.0.0"
        try:
            async with listen(title, port, host=host, store=take):
                return await self.step("move", (Context(STUDY_ROOT_MOVE, UNCOMPRESSED),), move)
        except OSError as error:
            words = f"cannot listen on port {port}: {error.strerror or error}"
            return Step(name="move", result=Result.FAILED, words=words, began=self._mark(), seconds=0.0)

    def _since(self, began: float) -> str:
        return f"{(self._mark() - began) * 1000:.1f} ms"

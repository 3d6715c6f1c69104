"""kill -9 at random while workitems are changed and HL7 orders taken: what was acknowledged is there, and
reported."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.receivers import free_port
from dicomwire.association.association import Association
from dicomwire.association.requestor import Context, connect
from dicomwire.dicom.data_set import DataSet
from dicomwire.errors import AssociationError, OperationFailed
from dicomwire.node.mllp import END, START
from dicomwire.services.unified_procedure_step import EVENT
from dicomwire.services.workitems import SOP_CLASSES, Workitems, events
from dicomwire.work.ups_client import EventReport
from dicomwire.work.workitem import GLOBAL
from tests.interop.conftest import require
from tests.interop.support import Node
from tests.services.department import SYNTAXES, listening
from tests.work.test_hl7_orders import orm
from tests.work.workitems import performed, workitem

ROUNDS = 3
SOON = 60.0  # seconds in which everything is there behind the last start

SETTINGS = """
[jobs]
first_retry = 0.1
longest_retry = 0.3
[hl7]
port = {hl7}
[[peers]]
ae_title = "WATCHER"
host = "127.0.0.1"
port = {port}
"""
STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED")


@dataclass
class Watcher:
    """Who has subscribed to all workitems, and what it has heard of each."""

    heard: dict[str, list[str]] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, report: EventReport) -> None:
        state = report.attributes.text("ProcedureStepState")
        told = self.heard.setdefault(report.sop_instance_uid, [])
        if state and state not in told:  # told twice is allowed, told late is not
            told.append(state)
        self.came.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        async with listening(events(self.take), scp_roles=[EVENT]) as acceptor:
            yield acceptor.port


@dataclass
class Ward:
    """Makes and ends workitems, and sends orders, until the node is gone; keeps what was acknowledged."""

    dimse_port: int
    hl7_port: int
    reached: dict[str, list[str]] = field(default_factory=dict)
    ordered: set[str] = field(default_factory=set)
    count: int = 0
    wanted: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Association]:
        async with connect(
            "127.0.0.1",
            self.dimse_port,
            called_ae_title="DICOMWIRE",
            calling_ae_title="WATCHER",
            contexts=[Context(uid, SYNTAXES) for uid in SOP_CLASSES],
        ) as association:
            yield association

    async def subscribe(self) -> None:
        async with self.connected() as association:
            await Workitems(association).subscribe(GLOBAL, "WATCHER", lock=True)

    def number(self) -> int:
        self.count += 1
        if self.count >= self.wanted:
            self.enough.set()
        return self.count

    async def perform(self) -> None:
        with suppress(AssociationError):
            while True:
                async with self.connected() as association:
                    for _ in range(4):
                        await self._workitem(Workitems(association))

    async def _workitem(self, worklist: Workitems) -> None:
        uid, own = f"1.2.8.{self.number()}", "1.2.3.99"
        reached = self.reached.setdefault(uid, [])
        with suppress(OperationFailed):
            await worklist.create(workitem(), uid)
            reached.append("SCHEDULED")
            await worklist.change_state(uid, "IN PROGRESS", own)
            reached.append("IN PROGRESS")
            await worklist.update(uid, performed(), own)
            await worklist.change_state(uid, "COMPLETED", own)
            reached.append("COMPLETED")

    async def order(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.hl7_port)
            try:
                while True:
                    accession = f"A{self.number():07}"
                    message = orm().replace(b"ACC1", accession.encode()).replace(b"SPS1", accession.encode())
                    writer.write(START + message + END)
                    if b"MSA|AA|" in await reader.readuntil(END):
                        self.ordered.add(accession)
            finally:
                writer.close()

    async def work_until_the_node_is_gone(self, more: int) -> list[asyncio.Task[None]]:
        self.wanted = self.count + more
        self.enough.clear()
        work = [self.perform(), self.perform(), self.order(), self.order()]
        tasks = [asyncio.create_task(each) for each in work]
        await asyncio.wait_for(self.enough.wait(), SOON)
        return tasks


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_change_no_order_and_no_event_is_lost_by_kill_9(tmp_path: Path, seed: int) -> None:
    require(Node)
    when = random.Random(seed)
    watcher = Watcher()
    async with watcher.listening() as port:
        hl7 = free_port()
        configuration = tmp_path / "node.toml"
        configuration.write_text(SETTINGS.format(port=port, hl7=hl7))
        node = Node(tmp_path / "node", flags=("--config", str(configuration)))
        ward = Ward(node.dimse_port, hl7)
        try:
            for _ in range(ROUNDS):
                await asyncio.to_thread(node.start)
                await ward.subscribe()
                tasks = await ward.work_until_the_node_is_gone(when.randrange(20, 120))
                assert await asyncio.to_thread(node.stop, signal.SIGKILL) == -signal.SIGKILL
                await asyncio.gather(*tasks)
            await asyncio.to_thread(node.start)
            async with asyncio.timeout(SOON):
                while unheard(watcher, ward):
                    watcher.came.clear()
                    await watcher.came.wait()
            assert await asyncio.to_thread(lost_orders, node, ward) == []
            async with ward.connected() as association:
                assert await wrong_states(Workitems(association), ward) == []
        finally:
            await asyncio.to_thread(node.stop)
    assert ward.ordered
    assert any("COMPLETED" in reached for reached in ward.reached.values())
    out_of_order = [told for told in watcher.heard.values() if told != list(STATES[: len(told)])]
    assert out_of_order == []


def unheard(watcher: Watcher, ward: Ward) -> list[tuple[str, str]]:
    """Acknowledged states of which no event has come."""
    return [
        (uid, state)
        for uid, reached in ward.reached.items()
        for state in reached
        if state not in watcher.heard.get(uid, ())
    ]


def lost_orders(node: Node, ward: Ward) -> list[str]:
    items = node.get("/modality-scheduled-procedure-steps?limit=1000").json()
    found = {each["00080050"]["Value"][0] for each in items}
    return sorted(ward.ordered - found)


async def wrong_states(worklist: Workitems, ward: Ward) -> list[str]:
    """Workitems that are behind what was acknowledged."""
    wrong = []
    for uid, reached in ward.reached.items():
        if not reached:
            continue
        found: DataSet = (await worklist.retrieve(uid)).attributes
        if STATES.index(found.text("ProcedureStepState")) < STATES.index(reached[-1]):
            wrong.append(uid)
    return wrong

"""kill -9 while steps are taken and commitments asked for: whatever was acknowledged is forwarded and
reported."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dicomwire.association.requestor import Context, connect
from dicomwire.dimse.command import NCreateRq, NSetRq
from dicomwire.errors import AssociationError
from dicomwire.services.normalized import Answer, Operation, invoke, service
from dicomwire.services.procedure_step import MPPS
from dicomwire.services.storage_commitment import STORAGE_COMMITMENT, ask, receiving
from dicomwire.work.commitment import Reference
from tests.archive.test_archive import CT
from tests.crash.traffic import Traffic, instances, lost
from tests.interop.conftest import require
from tests.interop.support import Node
from tests.services.department import SYNTAXES, listening
from tests.work.steps import beginning, end

ROUNDS = 3
SOON = 60.0  # seconds in which everything is delivered behind the last start

SETTINGS = """
[jobs]
first_retry = 0.1
longest_retry = 0.3
[mpps]
forward = ["RIS"]
[[peers]]
ae_title = "RIS"
host = "127.0.0.1"
port = {port}
[[peers]]
ae_title = "CT1"
host = "127.0.0.1"
port = {port}
"""


@dataclass
class Department:
    """What follows a node, and what it has heard."""

    steps: dict[str, list[str]] = field(default_factory=dict)
    reports: set[str] = field(default_factory=set)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, operation: Operation) -> Answer:
        messages = self.steps.setdefault(operation.sop_instance_uid, [])
        status = operation.attributes.text("PerformedProcedureStepStatus")
        if status in messages:
            return Answer(0x0111 if status == "IN PROGRESS" else 0x0110, error_id=0xA710)
        messages.append(status)
        self.heard.set()
        return Answer()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        def reported(result: object, now: float) -> None:
            self.reports.add(result.transaction_uid)  # type: ignore[attr-defined]
            self.heard.set()

        handler = service(self.take)
        services = {(MPPS, NCreateRq): handler, (MPPS, NSetRq): handler, **receiving(reported)}
        async with listening(services, scp_roles=[STORAGE_COMMITMENT]) as acceptor:
            yield acceptor.port


@dataclass
class Modality:
    """Makes steps and asks for commitment until the node is gone; keeps what was acknowledged."""

    port: int
    ended: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    count: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 0

    async def work(self) -> None:
        with suppress(AssociationError):
            while True:
                contexts = [Context(MPPS, SYNTAXES), Context(STORAGE_COMMITMENT, SYNTAXES)]
                async with connect(
                    "127.0.0.1",
                    self.port,
                    called_ae_title="DICOMWIRE",
                    calling_ae_title="CT1",
                    contexts=contexts,
                ) as association:
                    for _ in range(4):
                        await self._step(association)

    async def _step(self, association: object) -> None:
        self.count += 1
        uid = f"1.2.9.{self.count}"
        if (await invoke(association, NCreateRq(0, MPPS, uid), beginning())).status == 0:  # type: ignore[arg-type]
            self.begun.add(uid)
        if (await invoke(association, NSetRq(0, MPPS, uid), end())).status == 0:  # type: ignore[arg-type]
            self.ended.add(uid)
        if (await ask(association, uid, [Reference(CT, "1.2.3")])).status == 0:  # type: ignore[arg-type]
            self.asked.add(uid)
        if len(self.asked) >= self.wanted:
            self.enough.set()


@pytest.mark.parametrize("seed", [1])
async def test_no_report_and_no_message_is_lost_by_kill_9(tmp_path: Path, seed: int) -> None:
    require(Node)
    when = random.Random(seed)
    department = Department()
    async with department.listening() as port:
        configuration = tmp_path / "node.toml"
        configuration.write_text(SETTINGS.format(port=port))
        node = Node(tmp_path / "node", flags=("--config", str(configuration)))
        modality = Modality(node.dimse_port)
        try:
            for _ in range(ROUNDS):
                await asyncio.to_thread(node.start)
                modality.wanted = len(modality.asked) + when.randrange(1, 40)
                modality.enough.clear()
                work = [asyncio.create_task(modality.work()) for _ in range(4)]
                await asyncio.wait_for(modality.enough.wait(), SOON)
                assert await asyncio.to_thread(node.stop, signal.SIGKILL) == -signal.SIGKILL
                await asyncio.gather(*work)
            await asyncio.to_thread(node.start)
            async with asyncio.timeout(SOON):
                while missing(department, modality):
                    department.heard.clear()
                    await department.heard.wait()
        finally:
            await asyncio.to_thread(node.stop)
    assert missing(department, modality) == []
    assert modality.ended
    out_of_order = [uid for uid, told in department.steps.items() if told not in (["IN PROGRESS"], BOTH)]
    assert out_of_order == []


BOTH = ["IN PROGRESS", "COMPLETED"]


def missing(department: Department, modality: Modality) -> list[str]:
    """What was acknowledged and has not arrived."""
    steps = department.steps
    lost = [uid for uid in modality.begun if "IN PROGRESS" not in steps.get(uid, ())]
    lost += [uid for uid in modality.ended if "COMPLETED" not in steps.get(uid, ())]
    return lost + sorted(modality.asked - department.reports)


ROUTES = """
[jobs]
first_retry = 0.1
longest_retry = 0.3
[[routes]]
destination = "PACS"
[[peers]]
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
"""


def test_what_was_acknowledged_goes_on_whenever_the_node_is_killed(tmp_path: Path) -> None:
    require(Node)
    pacs = Node(tmp_path / "pacs", flags=("--ae-title", "PACS"))
    configuration = tmp_path / "node.toml"
    configuration.write_text(ROUTES.format(port=pacs.dimse_port))
    node = Node(tmp_path / "node", flags=("--config", str(configuration)))
    traffic = Traffic(node, instances(6))
    try:
        pacs.start()
        for count in (40, 1):
            node.start()
            traffic.start()
            traffic.wait_for(count)
            assert node.stop(signal.SIGKILL) == -signal.SIGKILL
            traffic.join()
        node.start()
        deadline = time.monotonic() + SOON
        while lost(pacs, traffic.acknowledged):
            assert time.monotonic() < deadline
            time.sleep(0.2)  # another process forwards
    finally:
        node.stop()
        pacs.stop()
